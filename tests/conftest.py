"""The suite runs in one process per core, each on one thread: more would only wait for each other."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.helpers.command import Say

if "PYTEST_XDIST_WORKER" in os.environ:  # read by the libraries when they are first imported
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ.setdefault(name, "1")
    # Where a test asks for two, they sleep while they wait for each other: their core has another process to run.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if "PYTEST_XDIST_WORKER" not in os.environ:  # workers inherit it, and share what each of them makes
    _graphs = tempfile.TemporaryDirectory(prefix="graphs")  # deleted when the process ends
    os.environ["DEFORUM_OPENVINO"] = _graphs.name

os.environ["DEFORUM_PROBE"] = "off"  # what runs take here is no measure of the machine


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while modules are imported, and later not among the million objects that they made."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates in what tests print and log: xdist cannot send them from process to process."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty current folder, without weights or network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    return tmp_path


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run the command line in a folder with `a.yaml`."""
    from tests.helpers import command

    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(command.LOOKED_AT)
    return lambda *words: command.say(capsys, *words)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The one browser of the session, see `tests.helpers.browser`; tests are skipped where there is none."""
    from tests.helpers.browser import running_browser

    with running_browser() as browser:
        yield browser
