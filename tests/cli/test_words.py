"""Settings on the command line as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deforum.cli.words import rewrite
from deforum.errors import UserError

OPTIONS = {"-o": True, "--output": True, "-q": False, "--quiet": False, "-h": False, "--help": False, "--json": False}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.yaml", "seed", "fps=3.yaml"):
        Path(name).touch()


@pytest.mark.parametrize(
    ("typed", "understood"),
    [
        # As options.
        (["a.yaml", "--seed", "3"], ["a.yaml", "seed=3"]),
        (["--seed=3", "a.yaml"], ["seed=3", "a.yaml"]),
        (["--seed", "-1"], ["seed=-1"]),
        (["--seed", "1,2,3"], ["seed=1,2,3"]),
        (["-seed", "3"], ["seed=3"]),
        (["-W", "512", "-H=256"], ["W=512", "H=256"]),
        (["--max-frames", "12", "--max_frames=13"], ["max_frames=12", "max_frames=13"]),
        (["--motion.zoom", "1.1"], ["motion.zoom=1.1"]),
        (["–seed", "3", "—fps=9"], ["seed=3", "fps=9"]),
        (["--strength", "0: (0.5), 9: (0.7)"], ["strength=0: (0.5), 9: (0.7)"]),
        (["--prompts", "-a sea"], ["prompts=-a sea"]),
        (["--tiling", "a.yaml"], ["tiling=true", "a.yaml"]),
        (["--tiling", "no", "a.yaml"], ["tiling=no", "a.yaml"]),
        (["--no-tiling", "--no_make-gif"], ["tiling=false", "make_gif=false"]),
        (["--tiling=off"], ["tiling=off"]),
        (["--tiling", "x", "a.yaml"], ["tiling=x", "a.yaml"]),
        (["--init-image", "a.yaml"], ["init_image=a.yaml"]),  # a file may be its value
        (["--cn_2_weight", "0.5"], ["cn_2_weight=0.5"]),
        # In several words.
        (["a.yaml", "fps", "=", "3"], ["a.yaml", "fps=3"]),
        (["fps", "=3"], ["fps=3"]),
        (["fps=", "3", "a.yaml"], ["fps=3", "a.yaml"]),
        (["fps=", "-3"], ["fps=-3"]),
        (["fps = 3"], ["fps=3"]),
        (["fps:", "3"], ["fps=3"]),
        (["fps: 3", "fps:4"], ["fps=3", "fps=4"]),
        (["motion.zoom", "=", "1.1"], ["motion.zoom=1.1"]),
        (["max-frames=3"], ["max_frames=3"]),
        (["zomm", "=", "3"], ["zomm=3"]),  # the settings know what is wrong with it
        # Values are left alone.
        (["strength=0:(0.5), 3:(a=b)"], ["strength=0:(0.5), 3:(a=b)"]),
        (["init_image=/tmp/a.png"], ["init_image=/tmp/a.png"]),
        (["prompt=", "a.yaml"], ["prompt=", "a.yaml"]),
        (["prompt=", "fps=3"], ["prompt=", "fps=3"]),
        (["prompt=", "--quiet"], ["prompt=", "--quiet"]),
        (["prompts=" + "x" * 5000], ["prompts=" + "x" * 5000]),
        (["W:\\a.yaml", "http://a/b.yaml", "x:3"], ["W:\\a.yaml", "http://a/b.yaml", "x:3"]),
        # Files and options come first.
        (["fps=3.yaml", "seed", "=", "3"], ["fps=3.yaml", "seed", "=", "3"]),
        (["-o", "seed=3", "-q"], ["-o", "seed=3", "-q"]),
        (["--output", "--x"], ["--output", "--x"]),
        (["--output=films", "-ofilms", "-o", "films"], ["--output=films", "-ofilms", "-o", "films"]),
        (["-output", "films", "-quiet", "--out", "x"], ["--output", "films", "--quiet", "--output", "x"]),
        (["-", "-5", "--", "--seed"], ["-", "-5", "--", "--seed"]),
    ],
)
def test_words_become_settings(typed: list[str], understood: list[str]) -> None:
    assert rewrite(typed, OPTIONS) == understood


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--sed", "3"], "--sed: there is no such option or setting; did you mean seed=VALUE?"),
        (["--sed=3"], "did you mean seed=3?"),
        (["--quite"], "--quite: there is no such option or setting; did you mean --quiet?"),
        (["--zzz"], "options are listed by --help, settings by the command params"),
        (["--seed"], "--seed: the value of this setting is missing; expected seed=VALUE"),
        (["--seed", "--quiet"], "expected seed=VALUE"),
        (["--seed", "fps=3"], "expected seed=VALUE"),
        (["--fps", "a.yaml"], "expected fps=VALUE"),
        (["--format", "csv"], "--format: this is an option of values, not of this command"),
        (["--check", "a.yaml"], "--check: this is a command; commands come first, without dashes: check FILE"),
    ],
)
def test_other_words_get_the_right_form(typed: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        rewrite(typed, OPTIONS, {"check": list, "values": lambda: ["--format"]})
    assert message in str(error.value)
