"""`make_chain`: steps on the frames of a run, of an earlier step, or on a film."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from deforum.errors import Problem, UserError
from deforum.events import Note, Observer, nobody
from deforum.models.kept import KeptModels
from deforum.models.machine import renders_on_gpu
from deforum.output.film import plain_film_settings
from deforum.output.finished import find_run
from deforum.post.making import Made, Making
from deforum.post.material import Material, of_film, of_run
from deforum.post.record import chain_of
from deforum.post.settle import settled
from deforum.settings.files import Lookup
from deforum.settings.steps import Step, located


def make_chain(
    path: Path,
    steps: Sequence[Step],
    overrides: Sequence[str] = (),
    *,
    output: Path | None = None,
    overwrite: bool = False,
    observer: Observer = nobody,
    stop: Callable[[], bool] = lambda: False,
    models: KeptModels | None = None,
) -> Made:
    """Make steps such as [Upscale(2.0), Grain(0.02)] of what a path names, and a film of what they make.

    `path` is the folder of a run, finished or not, or of an earlier step of one, or a film. `overrides` change the
    settings of the film, such as 'video_format=webm'. `output` is the film's file, or a folder for it (default: beside
    the film of the run). What is there already is not made again. Relative paths in steps start from the current
    folder. Raises UserError, before anything is made wherever possible.
    """
    from deforum.models.device import choose_device
    from deforum.models.process import settle_process

    settle_process()
    before, material = _material(path, overrides, output)
    device = material.settings.device
    chain, notes = settled(
        (*before, *(_located(step, material.settings.models_dir) for step in steps)),
        are_finished=material.are_finished,
        on_gpu=renders_on_gpu(device),
    )
    for note in (*notes, *material.notes):
        observer(Note(note))
    models = KeptModels() if models is None else models
    return Making(material, observer, stop, models, choose_device(device), overwrite).make(chain)


def _located(step: Step, models_dir: str) -> Step:
    step, missing = located(step, Lookup(Path()), models_dir)
    if missing:
        raise UserError([Problem(f"{option}: {message}") for option, message in missing])
    return step


def _material(path: Path, overrides: Sequence[str], output: Path | None) -> tuple[tuple[Step, ...], Material]:
    """Return what a path names, and the steps that it is made by."""
    if path.is_file():
        return (), of_film(path, plain_film_settings(overrides), output)
    run, chain = chain_of(path)
    return chain, of_run(find_run(run), None, overrides, output)
