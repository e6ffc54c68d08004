"""TorchScript files as a stranger might send them: what they may not contain, found before any of it is loaded."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from deforum.errors import UserError
from deforum.interpolation import load_interpolator, resolve_interpolator
from deforum.pixels.image import CPU

PROGRAM = "def forward(self,\n    a: Tensor) -> Tensor:\n  {}\n  return a\n"

ATTACKS: tuple[tuple[dict[str, str], str, str], ...] = (
    # files in the archive, what is said, why it is there
    ({"n/code/__torch__.py": PROGRAM.format('_0 = torch.from_file("/etc/passwd", False, 10)')}, "has from_file",
     "reads any file into the picture"),
    ({"n/code/__torch__.py": PROGRAM.format('torch.save(a, "/tmp/owned")')}, "has save", "writes any file"),
    ({"n/code/__torch__.py": PROGRAM.format("_0 = torch . from_file(b, False, 10)")}, "has from_file",
     "blanks around the point"),
    ({"n/code/__torch__.py": PROGRAM.format("_0 = ops.c10d.broadcast_(a)")}, "has c10d", "speaks to other machines"),
    ({"n/code/__torch__/deep/inner.py": PROGRAM.format('ops.aten.save(a, "x")'), "n/code/__torch__.py": "pass"},
     "has save", "in a module of its own"),
    ({"n/code/__torch__.py": "def __setstate__(self, state: Tensor) -> NoneType:\n  torch.save(state, 'x')\n"},
     "has save", "runs while the file is loaded"),
    ({"n/data.pkl": "\x80\x02cos\nsystem\n."}, "it has no program", "a pickle that names a function of Python"),
    ({"n/code/__torch__.py": "import os\n"}, "not a TorchScript file", "Python that is no TorchScript"),
)  # fmt: skip


@pytest.mark.parametrize(("files", "says", "why"), ATTACKS, ids=[why for *_, why in ATTACKS])
def test_a_program_that_reaches_out_is_refused(files: dict[str, str], says: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "network.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    with pytest.raises(UserError, match=says):
        load_interpolator(resolve_interpolator(str(path)), CPU)


def test_both_files_of_one_name_are_read(tmp_path: Path) -> None:
    """Two programs of one name in an archive: readers differ in which one they take."""
    path = tmp_path / "network.pt"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)
        for text in (PROGRAM.format('torch.save(a, "x")'), PROGRAM.format("b = a")):
            archive.writestr("n/code/__torch__.py", text)
    with pytest.raises(UserError, match="has save"):
        load_interpolator(resolve_interpolator(str(path)), CPU)


def test_nothing_is_loaded_before_the_program_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*words: Any, **more: Any) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(torch.jit, "load", forbidden)
    path = tmp_path / "network.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("n/code/__torch__.py", PROGRAM.format('torch.save(a, "x")'))
    with pytest.raises(UserError, match="has save"):
        load_interpolator(resolve_interpolator(str(path)), CPU)
