"""Settings files and command lines as a stranger might send them: each is an attack, with why it is there."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from deforum.cli import main as cli
from deforum.errors import UserError
from deforum.loading import load
from deforum.settings.options import DECLARATIONS, Settings
from schedules import ScheduleError
from tests.security.fuzz import MOST_CPU, assert_fit_for_a_terminal, limited

LONG = "a" * 5000


def refusal(file: Path) -> str:
    """Load a file, which must be refused within the time for one input; return the message."""
    with limited(MOST_CPU), pytest.raises((UserError, ScheduleError)) as caught:
        load(file)
    return str(caught.value)


ATTACKS = [
    # (suffix, text, what the message says, why)
    (".yaml", "width: " + "9" * 400, "out of range; expected 8..8192", "numbers beyond 64 bits overflow"),
    (".yaml", "width: " + "9" * 9000, "not a whole number", "Python reads no whole number of over 4300 digits"),
    (".txt", json.dumps({"sampler": "9" * 400, "W": 64}), "is no sampler", "an index of samplers without end"),
    (".txt", '{"W": ' + "9" * 9000 + "}", "W", "a size that is infinite as a float"),
    (".yaml", "reroll_patience: " + "9" * 100, "too many digits", "seeds go to 64-bit generators"),
    (".yaml", "mask: '" + "!" * 20000 + "'\nuse_mask: true", "at most 50 levels", "recursion ends the process"),
    (".yaml", "mask: '" + "(" * 9000 + "{depth}" + ")" * 9000 + "'\nuse_mask: true", "at most 50 levels", "recursion"),
    (".yaml", "mask: '" + "{depth}&" * 20000 + "{depth}'\nuse_mask: true", "at most 600", "a tree as deep as long"),
    (".yaml", "a: " + "[" * 10000, "at most 8 levels", "nested lists overflow the stack of parsers"),
    (".txt", '{"a": ' + "[" * 10000, "at most 20 levels", "nested lists overflow the stack of parsers"),
    (".yaml", "x0: &x0 [1, 1]\n" + "".join(f"x{n}: &x{n} [*x{n - 1}, *x{n - 1}]\n" for n in range(1, 60)),
     "nested too deeply", "aliases of aliases: 60 lines stand for 2**60 values"),
    (".yaml", "x0: &x0 [" + "1, " * 3000 + "1]\nx1: [" + "*x0, " * 1000 + "1]", "at most 50,000", "the same, flat"),
    (".yaml", "prompts: {" + "1, " * 50001 + "}", "at most 50,000", "many values take minutes and gigabytes"),
    (".txt", "{" + '"a": 1,' * 50001 + "}", "at most 50,000", "many values take minutes and gigabytes"),
    (".yaml", "prompts: {" + ", ".join(f"{n}: a" for n in range(20001)) + "}", "at most 20,000 keyframes", "the same"),
    (".yaml", "zoom: '" + ",".join(f"{n}:1" for n in range(20001)) + "'", "at most 20,000", "the same"),
    (".yaml", "prompts: '" + "a" * 200001 + "'", "at most 200,000 characters", "patterns run over every text"),
    (".yaml", "a: " + "b" * (4 * 2**20), "at most 4,194,304 bytes", "a file is read into memory as a whole"),
    (".yaml", "zoom: {'" + "9" * 9000 + "': 1}", "zoom", "a pattern that backtracks: 4.5 s for 9,000 digits"),
    (".txt", '{"prompts": {"0": "a \\ud83d sea"}}', r"\ud83d is half of a surrogate pair", "it cannot be encoded"),
    (".txt", '{"\\udc00": 1, "prompts": {"0": "a"}}', r"\udc00 is half of a surrogate pair", "it cannot be encoded"),
    (".yaml", 'output: "a\\0b"', "NUL", "the operating system's paths end at NUL"),
    (".yaml", 'batch_name: "a\\0b"', "NUL", "the same"),
    (".yaml", "seed: 1\nprompts: a\0b", "code 0", "binary data in a text file"),
    (".yaml", f"use_looper: true\ninit_images: {{0: {LONG[:300]}}}", "at most 255 bytes", "no file can have this path"),
    (".yaml", "init_image: " + "a/" * 4000, "at most 4,096 bytes", "a path that no file can have"),
    (".yaml", "init_image: ~nosuchuser/x.png", "no user of this name", "the home folder of an unknown user"),
    (".yaml", "init_image: //host/share/x.png", "on a network", "opening it sends a password hash on Windows"),
    (".yaml", "init_image: '\\\\host\\share\\x.png'", "on a network", "the same"),
    (".yaml", "init_image: http://localhost:1/x.png", "not fetched", "a request to a network tells who renders"),
    (".yaml", "init_image: /dev/zero", "no file", "a device that never ends"),
    (".yaml", "parseq_manifest: http://localhost:1/x", "not fetched without --allow-download", "it tells who renders"),
    (".yaml", "parseq_manifest: file:///etc/passwd", "no file", "an address of a file is no path"),
    (".yaml", "parseq_manifest: /dev/zero", "no file", "a device that never ends"),
    (".yaml", "parseq_manifest: /etc/passwd", "passwd:1:1: parseq_manifest: expected a JSON object",
     "a file of secrets: nothing of it is shown"),
    (".yaml", "parseq_manifest: //host/share/x.json", "on a network", "opening it sends a password hash on Windows"),
    (".yaml", "parseq_manifest: '" + '{"a": ' + "[" * 9000 + "'", "nested too deeply", "recursion ends the process"),
    (".yaml", "parseq_manifest: '{\"rendered_frames\": [" + '{"frame": 0},' * 99999 + '{"frame": 0}' + "]}'",
     "given more than once", "records without end"),
    (".yaml", "parseq_manifest: '{\"rendered_frames\": [{\"frame\": 9e99}]}'", "is not frame number",
     "curves of gigabytes"),
    (".yaml", "parseq_manifest: '{\"rendered_frames\": [{\"frame\": 0, " + ", ".join(f'"{n}": 1' for n in range(50000))
     + "}, {\"frame\": 1}]}'", "there is no '0'", "a fault for each of many fields"),
    (".yaml", "parseq_manifest: '{\"rendered_frames\": [{\"frame\": 0, \"\x1b[31m\": 1}, {\"frame\": 1}]}'",
     "code 27", "escape sequences command a terminal"),
    *((".txt", json.dumps({"parseq_manifest": json.dumps({"managedFields": ["zoom"], "keyframes": [
        {"frame": 0, "zoom": 1, "zoom_i": way}, {"frame": last}]})}), says, why)
      for way, last, says, why in (
        ("(" * 4000 + "1" + ")" * 4000, 9, "nested too deeply", "recursion ends the process"),
        ("-" * 9000 + "1", 9, "nested too deeply", "recursion ends the process"),
        ("1+" * 4900 + "1", 9, "nested too deeply", "recursion ends the process"),
        ("1" * 10001, 9, "at most 10,000 characters", "a pattern runs over it"),
        ("9" * 9000, 9, "it is inf", "a number without end"),
        ("9^9^9^9", 9, "no finite value", "a number that takes hours"),
        ("L", 999_999, "", "a million frames by one line"),
        ("sin(p=9)+L", 999_999, "too many to be rendered here", "the same, with more to compute"),
        ("round(1, p=1e9)", 9, "", "a power without end"),
        ("P", 1e300, "expected a whole number up to 1,000,000", "a frame that none is"),
        ("__import__('os')", 9, "no meaning in it", "no program is run"),
    )),
    (".txt", json.dumps({"parseq_manifest": '{"rendered_frames": [{"frame": 0, "\x1b[31m": 1}, {"frame": 1}]}'}),
     "is not JSON", "the same, escaped"),
    (".txt", json.dumps({"parseq_manifest": '{"rendered_frames": [{"frame": 0, "\\u001b[3m": 1}, {"frame": 1}]}'}),
     r"\x1b[3m", "the same, escaped twice"),
    (".txt", json.dumps({"parseq_manifest": json.dumps({"rendered_frames": [{"frame": 0, "noise": LONG}]})}),
     "", "a text in place of a number"),
    (".yaml", '"\\e[31munknown": 1', r"\x1b[31munknown", "escape sequences command a terminal"),
    (".yaml", 'width: "\\e]0;OWNED\\a"', r"\x1b]0;OWNED\x07", "escape sequences command a terminal"),
    (".yaml", 'width: "\\u202e46"', r"\u202e46", "marks of direction show another text than is there"),
    (".yaml", f"width: {LONG}", "…", "a message of megabytes hides the others"),
    (".yaml", f"{LONG[:900]}: 1", "unknown setting", "the same"),
    (".yaml", "profile: \n  " + LONG, "…", "the same"),
    (".txt", '{"W": [1]}', "W: a list cannot be read here", "a list read as if it were missing"),
    (".txt", '{"sampler": {"a": "Euler"}}', "sampler: a mapping cannot be read here", "the same"),
    (".yaml", "translation_x: 1e300", "-1000000..1000000", "no picture can be moved so far"),
    (".yaml", "translation_x: 10.0**200*t", "-1000000..1000000", "no picture can be moved so far"),
    (".yaml", "animation_mode: 3D\nfov: '0: (70), 5: (180)'", "fov is 180 at frame 5", "a view of 180 degrees is flat"),
    (".yaml", "cfg_scale: 1e300", "0..1000000", "the model gives NaN"),
    (".yaml", "seed_behavior: schedule\nseed_schedule: 1e300", "9007199254740992", "no 64-bit generator takes it"),
    (".yaml", "max_frames: 10000000", "1..1000000", "curves of gigabytes"),
    (".yaml", "width: 40000", "8..8192", "frames of gigabytes"),
    (".yaml", "prompts: !!python/object/apply:os.system [touch owned]", "", "YAML tags construct objects"),
    (".yaml", "zoom: \"__import__('os').system('touch owned')\"", "no meaning in an expression", "numexpr runs eval"),
    (".yaml", "output: /tmp/elsewhere", "not below the current folder", "a file is data and chooses no folder"),
    (".yaml", "output: ../elsewhere", "not below the current folder", "the same"),
    (".yaml", "output: a/../../elsewhere", "not below the current folder", "the same"),
    (".yaml", "output: ~/.config", "not below the current folder", "the same"),
    (".yaml", "outdir: /tmp/elsewhere", "not below the current folder", "the same, by its old name"),
    (".yaml", "shots: [{file: a.yaml}]", "has shots of its own", "a file of itself is read without end"),
    (".yaml", "shots: [{name: ../elsewhere}]", "no name of a shot", "names of shots become names of folders"),
    (".yaml", "shots: [{to: 3, output: ../elsewhere}]", "of the whole film", "a shot cannot do what its file cannot"),
    (".yaml", "shots: [" + "{}, " * 2001 + "{}]", "at most 2000", "each shot is read as a file is"),
    (".yaml", "output: link/x", "not below the current folder", "the same, through a link"),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "text", "says", "why"), ATTACKS, ids=[f"{n}" for n in range(len(ATTACKS))])
def test_a_file_of_a_stranger_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, text: str, says: str, why: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "link").symlink_to(tmp_path)
    monkeypatch.chdir(home)
    file = home / f"a{suffix}"
    file.write_text(text, encoding="utf-8")
    if not says:  # harmless: read as text, or refused; nothing happens
        with limited(MOST_CPU):
            try:
                load(file)
            except UserError as error:
                assert_fit_for_a_terminal(str(error))
    else:
        message = refusal(file)
        assert says in message, why
        assert_fit_for_a_terminal(message)
    assert sorted(path.name for path in home.iterdir()) == sorted([file.name, "link"])


def test_notes_and_names_are_shown_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Deforum's files are read leniently: what is left out is named, and the name may be an escape sequence."""
    file = tmp_path / "a.txt"
    owned = "\x1b]0;OWNED\x07"
    file.write_text(json.dumps({"prompts": {"0": "a"}, "sd_model_name": owned, owned: 1, "x" * 9000: 1}))
    report = load(file).report
    assert any(r"\x1b]0;OWNED\x07" in line for line in report)
    assert_fit_for_a_terminal("\n".join(line[:600] for line in report))
    file.write_text(json.dumps({"prompts": {"0": owned}, "max_frames": 2}))
    for words in (["values", str(file), "prompt"], ["values", str(file), "--format", "json"], ["convert", str(file)]):
        cli.main([*words, "-o", "-"])
        said = capsys.readouterr()
        assert "OWNED" in said.out and "\x1b" not in said.out + said.err and "\x07" not in said.out + said.err


def test_an_old_file_keeps_its_settings_but_not_its_folder(tmp_path: Path) -> None:
    """Deforum's files name folders of the machine that they were made on."""
    file = tmp_path / "a.txt"
    file.write_text(json.dumps({"prompts": {"0": "a"}, "outdir": "/content/drive/MyDrive"}))
    loaded = load(file)
    assert loaded.settings.output == Settings.output
    assert any(line.startswith("outdir: '/content/drive/MyDrive' is not below") for line in loaded.report)


def test_the_person_who_renders_chooses_any_folder(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("output: /somewhere/else\nprompts: a\n")
    assert load(file, [f"output={tmp_path}"]).settings.output == str(tmp_path)
    assert load({"output": str(tmp_path)}).settings.output == str(tmp_path)  # a program is a person's own


COMMANDS = [
    ("check", "a" * 300, "a name too long for a file"),
    ("check", "~nosuchuser/a.yaml", "the home folder of an unknown user"),
    ("check", "a.yaml", "init_image=" + "x" * 300, "a name too long for a file"),
    ("check", "a.yaml", "batch_name=" + LONG, "a name too long for a folder"),
    ("check", "a.yaml", "init_image=~nosuchuser/x", "the home folder of an unknown user"),
    ("check", "a.yaml", "init_image=a\0b", "NUL"),
    ("check", "a.yaml", "use_mask=true", "mask=<sky>", "mask_words_model=./missing", "it looks like a name on a hub"),
    ("check", "a.yaml", "use_mask=true", "mask=<sky>", "mask_words_model=a--b/c", "the hub library has own errors"),
    ("check", "a.yaml", "animation_mode=3D", "depth_algorithm=~nosuchuser/x", "the home folder of an unknown user"),
    ("check", "a.yaml", "animation_mode=3D", "depth_algorithm=" + "x" * 300, "a name too long for a file"),
    ("check", "a.yaml", "prompts=\udcff", "bytes that are no UTF-8 on the command line"),
    ("check", "a.yaml", "\udcff=1", "the same, as a name"),
    ("check", "a.yaml", "width=[" + "[" * 9000, "nesting"),
    ("check", "a.yaml", "x=[&a [1,1], &b [*a,*a], &c [*b,*b], *c]", "aliases"),
    ("params", "\x1b[31mx", "an escape sequence as a name"),
    ("values", "a.yaml", "\x1b[31mx", "an escape sequence as a name"),
    ("values", "a.yaml", "--frames", "9" * 5000, "a frame of 5,000 digits"),
    ("convert", "a.yaml", "-o", "b" * 300 + ".yaml", "a name too long for a file"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=[f"{n}" for n in range(len(COMMANDS))])
def test_a_command_line_ends_in_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    Path("a.yaml").write_text("prompts: a\nmax_frames: 2\nwidth: 64\nheight: 64\nskip_video_creation: true\n")
    with limited(MOST_CPU):
        status = cli.main(list(words[:-1]))
    said = capsys.readouterr()
    assert status in (0, 2) and "Traceback" not in said.err, words[-1]
    assert (status == 0) == ("batch_name" in words[2:3][0][:10] if len(words) > 3 else False), said.err
    assert_fit_for_a_terminal(said.err)


NO_PATHS = ["a\0b", "a" * 300, "a/" * 3000, "~nosuchuser/x", "\ud83d"]
"""What no file can be called."""
TAKE_PATHS = [
    "check PATH", "PATH", "values PATH zoom", "convert PATH -o -", "convert a.yaml -o PATH", "values a.yaml -o PATH",
    "diff PATH a.yaml", "diff a.yaml PATH", "film PATH", "film run -o PATH", "examples -o PATH", "a.yaml -o PATH",
    "check a.yaml -o PATH", "check a.yaml --log PATH", "check a.yaml init_image=PATH", "check a.yaml model=PATH",
]  # fmt: skip
"""Every way of giving a path."""


@pytest.mark.parametrize("words", TAKE_PATHS)
def test_no_way_of_giving_a_path_ends_in_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    Path("a.yaml").write_text("prompts: a\nmax_frames: 1\nwidth: 64\nheight: 64\n")
    Path("run", "frames").mkdir(parents=True)
    cv2.imwrite("run/frames/000000000.png", np.zeros((16, 16, 3), np.uint8))
    before = sorted(tmp_path.rglob("*"))
    for path in NO_PATHS:
        status = cli.main([word.replace("PATH", path) for word in words.split()])
        said = capsys.readouterr()
        assert status == 2 and "Traceback" not in said.err, (ascii(path), said.err)
        assert_fit_for_a_terminal(said.err)
    assert sorted(tmp_path.rglob("*")) == before
    for path in NO_PATHS if words == "PATH" else ():
        with pytest.raises(UserError):
            load(path)


@pytest.mark.parametrize(
    "words", ["values a.yaml WORD", "values a.yaml zoom --frames WORD", "completion WORD", "examples WORD", "--WORD",
              "params WORD", "check a.yaml model=WORD/", "check a.yaml prompts=[WORD", "check a.yaml seed=WORD",
              "check a.yaml device=WORD", "check a.yaml depth_algorithm=WORD animation_mode=3D", "help WORD",
              "check a.yaml --WORD"],
)  # fmt: skip
def test_long_words_are_cut_in_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("prompts: a\nmax_frames: 1\n")
    for word in ("x" * 250, "[" * 5000, "x" * 5000):
        try:
            cli.main([each.replace("WORD", word) for each in words.split()])
        except SystemExit as left:
            assert words.startswith("help") and left.code == 0
        assert_fit_for_a_terminal(capsys.readouterr().err)


def test_the_standard_input_has_the_limits_and_encodings_of_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "prompts: a\nwidth: 64\nheight: 64\n"
    for given, status, says in (
        (text.encode("utf-16"), 0, "good: "),
        (b"# " + bytes(5 * 2**20), 2, "expected at most 4,194,304 bytes"),
        (b"prompts: a\noutput: /elsewhere\n", 2, "not below the current folder"),
        (b"\xff", 2, "is not UTF-8 text"),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
        assert cli.main(["check", "-"]) == status
        assert says in "".join(capsys.readouterr())


DEEP: list[object] = []
DEEP.append(DEEP)
PYTHON_VALUES = [
    ({"prompts": DEEP}, "nested too deeply", "a list that contains itself"),
    ({"prompts": {0: {1: {2: 3}}}}, "prompts", "a mapping where a text belongs"),
    ({"width": 10**5000}, "width", "a number that Python does not write"),
    ({10**5000: 1}, "", "the same, as a name"),
    ({"width": b"64"}, "type bytes", "bytes are a sequence of numbers"),
    ({"width": 1j}, "type complex", "a number that is not real"),
    ({"width": object()}, "type object", "anything"),
    ({None: 1}, "a name of type NoneType", "a name that is no text"),
    ({("a",): 1}, "a name of type tuple", "a name that is no text"),
    ({"prompts": {None: "a"}}, "a name of type NoneType", "a keyframe that is no text"),
    ({"prompts": "a\ud800"}, "surrogate", "half a character"),
    ({"output": "a\0b"}, "NUL", "a path that no file can have"),
    ({"fps": float("nan")}, "not a number", "NaN"),
    ({"zoom": float("inf")}, "zoom", "infinity"),
    ({"zoom": {0: {}}}, "keyframe", "a mapping where a number belongs"),
]


@pytest.mark.parametrize(("values", "says", "why"), PYTHON_VALUES, ids=[f"{n}" for n in range(len(PYTHON_VALUES))])
def test_a_mapping_of_any_values_ends_in_a_message(values: dict[object, object], says: str, why: str) -> None:
    with pytest.raises(UserError) as caught:
        load(values)  # type: ignore[arg-type]
    assert says in str(caught.value), why
    assert_fit_for_a_terminal(str(caught.value))


def test_no_setting_runs_or_fetches_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text setting at once names things to run and to fetch; loading does neither."""

    def forbidden(*words: object, **more: object) -> None:
        raise AssertionError(f"started or opened {words}")

    for name in ("system", "popen", "execv", "posix_spawn"):
        monkeypatch.setattr(os, name, forbidden)
    monkeypatch.setattr("socket.socket.connect", forbidden)
    monkeypatch.setattr("socket.getaddrinfo", forbidden)
    file = tmp_path / "a.yaml"
    texts = [name for name, each in DECLARATIONS.items() if each.type is str]
    texts = [name for name in texts if name not in ("output", "detail_mask")]
    for text in ("http://localhost:1/x", "$(touch owned)", "| touch owned", "owner/name", "file:///etc/passwd"):
        file.write_text("".join(f"{name}: '{text}'\n" for name in texts))
        load(file, to_render=False)
        file.write_text(f"detail_mask: '{text}'\n")
        with pytest.raises(UserError, match="detail_mask"):  # its terms are read on loading
            load(file, to_render=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml"]


def test_limits_are_documented() -> None:
    """docs/limits.md has the number of every limit."""
    from deforum.limits import LIMITS, PATIENCE

    text = (Path(__file__).parents[2] / "docs" / "limits.md").read_text(encoding="utf-8")
    lines = (re.split(r"\s*\|\s*", line.strip("| ")) for line in text.splitlines())
    rows = {(cells[0], cells[1]) for cells in lines if len(cells) > 1}
    assert {(limit.of, str(limit)) for limit in LIMITS} <= rows
    assert {(each.of, f"{each.idle:g} s, {each.busy:g} s") for each in PATIENCE} <= rows
