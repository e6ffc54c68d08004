"""The table of model families, and that nothing beside it tells families apart."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import deforum
from deforum.diffusion.families import FAMILIES, Family, any_of
from deforum.diffusion.families.find import CONFIGS
from deforum.models.catalogue import find_function
from tests.helpers.command import imported

ROWS = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def config(family: Family, name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((CONFIGS / family.name / name).read_text())
    return read


@ROWS
def test_every_row_is_complete(family: Family) -> None:
    assert FAMILIES[family.name] is family
    assert family.title and family.network and family.network_name
    assert bool(family.pipelines) == family.paints and family.text_encoders
    assert all(value for name, value in vars(family.file).items() if name not in ("has_labels", "mark"))
    assert callable(find_function(family.load))


@ROWS
def test_every_row_describes_its_shipped_configs(family: Family) -> None:
    assert config(family, "model_index.json")["_class_name"] in (family.pipelines or FAMILIES["sdxl"].pipelines)
    network, vae = config(family, f"{family.network}/config.json"), config(family, "vae/config.json")
    assert network["in_channels"] * family.file.cells == family.file.channels
    assert network["in_channels"] == vae.get("latent_channels", 4) * family.channels_per_latent
    assert family.network_config.items() <= network.items()
    for part in family.text_encoders:
        assert config(family, f"{part}/config.json")
    assert config(family, "scheduler/scheduler_config.json")


@pytest.mark.parametrize("pipeline", sorted({name for family in FAMILIES.values() for name in family.pipelines}))
def test_families_of_a_pipeline_have_the_same_parts(pipeline: str) -> None:
    families = [family for family in FAMILIES.values() if pipeline in family.pipelines]
    assert len({(family.network, family.text_encoders) for family in families}) == 1
    # The last row takes every folder that the rows before it do not.
    assert all(family.network_config for family in families[:-1]) and not families[-1].network_config


def test_messages_name_families_in_few_words() -> None:
    rows = list(FAMILIES.values())
    assert any_of() == "Flux.1, Lumina 2, Stable Diffusion 1.x, 2.x, 3.x, XL or Z-Image"
    assert any_of(rows[:1]) == rows[0].title
    more = [replace(rows[0], title=title) for title in ("Flux", "Stable Diffusion 3")]
    assert any_of([FAMILIES["sd1"], FAMILIES["sdxl"], *more]) == "Flux, Stable Diffusion 1.x, 3 or XL"


def test_the_table_needs_neither_torch_nor_diffusers() -> None:
    code = "from deforum.diffusion.families import FAMILIES; assert FAMILIES"
    assert not imported(code, "torch", "diffusers", "transformers", "numpy")


OWN_FILES = ("diffusion/families", "diffusion/adapters", "diffusion/prompts/inversions.py", "settings/deforum_files.py")
"""Rooms that read files which are laid out differently for each family; the last one, files that name some."""


def words_of(tree: ast.AST) -> Iterator[str]:
    """Every name and every text in a module that is one word: prose may speak of families."""
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            texts = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]
            yield from (text for text in texts if " " not in text)


def test_nothing_outside_asks_which_family_a_model_is_of() -> None:
    root = Path(deforum.__file__).parent
    names = {*FAMILIES, *(family.load.split(":")[0].split(".")[-1] for family in FAMILIES.values())}
    told = re.compile(rf"(?<![a-z0-9])({'|'.join(names | {'xl', 'added_cond_kwargs', 'time_ids'})})(?![a-z0-9])")
    assert told.search("is_xl") and told.search("the SDXL refiner".lower()) and not told.search("xlsx")
    for path in root.rglob("*.py"):
        if not path.relative_to(root).as_posix().startswith(OWN_FILES):
            found = [word for word in words_of(ast.parse(path.read_text("utf-8"))) if told.search(word.lower())]
            assert not found, f"{path}: {found}"
