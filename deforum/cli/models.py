"""The command models: lists the models in folders."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from deforum.errors import UserError

if TYPE_CHECKING:
    from deforum.cli.console import Console


def models_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="DIR",
        help="folders of models, of the A1111 or Forge web UI or of ComfyUI, or an extra_model_paths.yaml (default: "
        "those of DEFORUM_MODELS_DIR)",
    )  # fmt: skip
    parser.add_argument("--kind", action="append", metavar="KIND", help="only models of this kind, such as lora or vae")
    parser.add_argument(
        "--digest", action="store_true", help="compute the digests of all files, which reads them whole"
    )


def models(arguments: argparse.Namespace) -> int:
    """Print a table of the models in folders: name, family, size, digest, trigger words."""
    from deforum.models.places import KINDS, VARIABLE, Kind, roots_of
    from deforum.reports.models import list_models, table_of, with_digests
    from schedules import nearest
    from schedules.quoting import quote

    console: Console = arguments.console
    named = [override for override in arguments.overrides if override.partition("=")[0].strip() == "models_dir"]
    if len(named) < len(arguments.overrides):
        raise UserError(f"models takes no setting but models_dir; expected folders, not {arguments.overrides[0]}")
    folders = [*arguments.files, *(override.partition("=")[2].strip() for override in named)]
    roots = [root for folder in folders or [None] for root in roots_of(folder, {} if folders else None)]
    if not roots:
        raise UserError(f"no folder given; give one, such as ~/stable-diffusion-webui, or set {VARIABLE}")
    kinds: list[Kind] = []
    for word in arguments.kind or KINDS:
        kind = next((kind for kind, row in KINDS.items() if word.lower() in (kind, row.title.lower())), None)
        if kind is None:
            meant = nearest(word, KINDS)
            hint = f"did you mean {meant}?" if meant else f"expected one of {', '.join(KINDS)}"
            raise UserError(f"there is no kind of model {quote(word)}; {hint}")
        kinds.append(kind)
    found = list_models(roots, kinds)
    if arguments.digest:
        with_digests(found)
        found = list_models(roots, kinds)
    console.put(table_of(found), models=[asdict(each) for each in found])
    if not found:
        console.say(f"no models in {', '.join(map(str, roots))}")
    return 0
