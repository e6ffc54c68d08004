"""Files as a stranger might send them, made at random from a seed, and what each may do.

Every input must end in a result or in an error that a user can mend: no other exception, no more than `MOST_CPU`
seconds of computing, no control characters in a message.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from deforum.build import prepare
from deforum.cli import main as cli
from deforum.diffusion.families.find import resolve_model
from deforum.errors import UserError
from deforum.loading import load
from deforum.pixels.files import decode
from deforum.settings.options import DECLARATIONS
from deforum.video import resolve_clip
from schedules import ScheduleError

MOST_CPU = 2.0
"""Seconds of computing for one input."""

NASTY = (
    "", " ", "\t", "~", "null", "none", "true", "0", "-1", "1e300", "-1e308", "9" * 400, "9" * 9000, "1e-320", "nan",
    "inf", "0x10", "1_000", "½", "٣", "\x1b]0;OWNED\x07", "\x1b[31m", "\u202etxt.exe", "\u2028", "\ufeff", "é" * 300,
    "🐈", "'", '"', "`", "`foo`", "`t`", "`" * 500, "(" * 500, "[" * 500, "{" * 500, "!" * 500, "<" * 500, "|" * 500,
    "a:b:c", "0: (1)", "0:(t), 30:(1/t)", "0: (1), 0: (2)", "max_f: 1", '"max_f-2":(1)', "1.5s:(2)", "sin(", "t**t**t",
    "1/0", "t//0", "lerp(0,1,t)", "9**9**9", "(a:1.2)", "((((a))))", "[a:b:0.5]", "<lora:x:1>", "a AND b :1e-06",
    "{video_mask}", "[nofile.png]", "<sky> & !{depth}", "../../../etc/passwd", "/etc/passwd", "/dev/zero", "/dev/stdin",
    "~nosuchuser/x", "~", "./missing", "a--b/c", "owner/name", "http://localhost/x", "file:///etc/passwd", "x" * 300,
    "a/" * 3000, "concat:a|b", "C:\\x\\y", "\\\\host\\share", "//host/share", "--neg", "a --neg b --neg c", "&a [*a]",
    "!!python/object/apply:os.system [x]", "*a", "&a", "%", "@", "- a", "a: b: c", "? a", "<<", "---", "...", "#", "'a",
)  # fmt: skip

SEEDS = (
    "max_frames: 8\nwidth: 64\nheight: 64\nprompts: {0: a sea, 4: 'a `t/10` hill --neg fog'}\n",
    "motion:\n  zoom: '0: (1), 30: (1.1)'\n  angle: sin(t/10)\ncamera: {fov: 70}\nmask: '{video_mask} & !<sky>'\n",
    "prompts:\n  0: (a:1.2) [b:c:0.5]\n  max_f/2: |\n    a text\n    of lines\nseed: 1\nstrength: {0: 0.5, 9: 0.6}\n",
    json.dumps({"W": 64, "H": 64, "max_frames": 8, "animation_prompts": {"0": "a", "5": "b"}, "zoom": "0:(1.0)"}),
    json.dumps({"prompts": {"0": "a"}, "sampler": "Euler a", "strength_schedule": "0: (0.65)", "use_looper": True}),
    json.dumps({"parseq_manifest": '{"options": {"cadence": 2}, "rendered_frames": [{"frame": 0, "zoom_delta": 2}]}'}),
    json.dumps(
        {
            "parseq_manifest": '{"managedFields": ["zoom"], "keyframes": [{"frame": 0, "zoom_i": "bez()+sin(4)"}, '
            '{"frame": 6}]}'
        }
    ),
    json.dumps({"cn_1_enabled": True, "parseq_manifest": "", "init_images": '{"0": "a.png"}', "seed": -1}),
)
"""Files that are good, to begin with."""


def assert_fit_for_a_terminal(message: str) -> None:
    """A message has no control characters, and repeats at most a line of what was given."""
    assert all(letter == "\n" or letter.isprintable() for letter in message), ascii(message)
    assert max(map(len, message.split("\n"))) < 700, message


@dataclass(frozen=True)
class Finding:
    """One input that did what it may not do."""

    kind: str
    text: str
    fault: str


class TooSlow(Exception):
    """An input took more computing than it may."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TooSlow where the block computes for longer (processor time of this process)."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"more than {seconds:g} s of computing")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def attempt(kind: str, text: str, act: Callable[[], object]) -> Finding | None:
    """Do something with an input; return what is wrong with how it ended."""
    try:
        with limited(MOST_CPU):
            act()
    except (UserError, ScheduleError) as error:
        message = str(error)
    except SystemExit:  # argparse's way to end
        return None
    except Exception as error:
        return Finding(kind, text, f"{type(error).__name__}: {error}"[:300])
    else:
        return None
    bad = next((letter for letter in message if letter != "\n" and not letter.isprintable()), None)
    if bad is not None:
        return Finding(kind, text, f"control character {bad!r} in: {message[:200]!r}")
    longest = max(map(len, message.split("\n")))
    return Finding(kind, text, f"a line of {longest} characters") if longest > 2000 else None


# --- inputs -----------------------------------------------------------------------------------------------------------


def mutated(rng: random.Random, text: str) -> str:
    """Change a text at a few places: nasty pieces, pieces repeated, exchanged, cut out."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        match rng.randrange(6):
            case 0:
                text = text[:at] + rng.choice(NASTY) + text[at:]
            case 1:
                text = text[:at] + rng.choice(NASTY) + text[min(end, at + 12) :]
            case 2:
                text = text[:at] + text[at:end] * rng.choice((2, 3, 50)) + text[end:]
            case 3:
                text = text[:at] + text[min(end, at + 8) :]
            case 4:
                text = text[:at] + chr(rng.choice((0, 7, 27, 0x85, 0x202E, 0xD83D, rng.randrange(0x3000)))) + text[at:]
            case 5:
                text = text[:at] + rng.choice(string.punctuation) * rng.choice((1, 2, 3000)) + text[at:]
    return text[:200_000]


def settings_text(rng: random.Random) -> str:
    """Return the text of a settings file: a good one changed, or nasty values for settings at random."""
    if rng.random() < 0.5:
        return mutated(rng, rng.choice(SEEDS))
    names = rng.sample(list(DECLARATIONS), rng.choice((1, 2, 5)))
    values = {name: rng.choice(NASTY) if rng.random() < 0.7 else mutated(rng, rng.choice(NASTY)) for name in names}
    if rng.random() < 0.5:
        return json.dumps({"prompts": {"0": "a"}, **values}, ensure_ascii=rng.random() < 0.5)
    return "".join(f"{name}: {value}\n" for name, value in values.items())


def python_value(rng: random.Random, depth: int = 0) -> object:
    """Return a Python value of any kind, as a program might pass to `load`."""
    plain: tuple[object, ...] = (
        None,
        True,
        -1,
        10**400,
        10**5000,
        0.1,
        float("nan"),
        float("-inf"),
        b"bytes",
        1j,
        set(),
    )
    match rng.randrange(6 if depth < 12 else 3):
        case 0 | 1:
            return rng.choice(plain)
        case 2:
            return rng.choice(NASTY)
        case 3:
            return [python_value(rng, depth + 1) for _ in range(rng.randrange(3))]
        case 4:
            return {rng.choice(("0", 5, None, (1,), "t")): python_value(rng, depth + 1)}
        case _:
            return object()


def changed(rng: random.Random, data: bytes) -> bytes:
    """Change some bytes of a file, mostly near its beginning, where headers are; or cut it."""
    mutable = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 64))):
        at = rng.randrange(min(len(mutable), rng.choice((32, 200, len(mutable)))))
        mutable[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(mutable[: rng.randrange(len(mutable))] if rng.random() < 0.2 else mutable)


def header(rng: random.Random) -> bytes:
    """Return a safetensors file whose header is wrong in some way."""
    entry = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    wrong: tuple[object, ...] = (
        [], 5, None, "x", {"a": 1}, {"a": {**entry, "shape": None}}, {"a": {**entry, "shape": ["x"]}},
        {"a": {**entry, "shape": [10**12, 10**12]}}, {"a": {**entry, "dtype": 7}}, {"a": {"dtype": "F32"}},
        {"a": {**entry, "data_offsets": [16, 0]}}, {"a": {**entry, "data_offsets": [0, 10**18]}},
        {"__metadata__": 5, "a": entry}, {"__metadata__": {"ss_v_parameterization": []}, "a": entry},
        {"model.diffusion_model.input_blocks.0.0.weight": entry}, {f"k{i}": entry for i in range(2000)},
    )  # fmt: skip
    text = rng.choice((json.dumps(rng.choice(wrong)), "[" * 100_000, '{"a":' * 5000, "{" * 300, ""))
    body = (mutated(rng, text) if rng.random() < 0.3 else text).encode("utf-8", "surrogatepass")
    length = len(body) if rng.random() < 0.8 else rng.choice((0, 7, 2**31, 2**63))
    return length.to_bytes(8, "little") + body + bytes(16)


KINDS = {"file": 55, "mapping": 10, "command": 15, "picture": 20}
"""What is tried, with how often."""


@dataclass(frozen=True)
class Corpus:
    """Good files to begin with, and a folder to work in."""

    folder: Path
    pictures: tuple[Path, ...]
    clips: tuple[Path, ...]


def run(corpus: Corpus, seed: int, count: int, clips: int) -> list[Finding]:
    """Try `count` inputs, of which `clips` are films (each starts ffmpeg); return what went wrong."""
    rng, found = random.Random(seed), list[Finding | None]()
    for number in range(count - clips):
        kind = rng.choices(tuple(KINDS), tuple(KINDS.values()))[0]
        found.append(_one(corpus, rng, kind, number))
    found += [_clip(corpus, rng) for _ in range(clips)]
    return [each for each in found if each is not None]


def _one(corpus: Corpus, rng: random.Random, kind: str, number: int) -> Finding | None:
    file = corpus.folder / rng.choice(("a.yaml", "a.txt", "a.json"))
    if kind == "mapping":
        values = {rng.choice((*DECLARATIONS, 5, None)): python_value(rng) for _ in range(2)}
        return attempt(kind, _shown(values), lambda: load(values))  # type: ignore[arg-type]
    if kind == "picture":
        path = rng.choice(corpus.pictures)
        broken = corpus.folder / path.name
        broken.write_bytes(changed(rng, path.read_bytes()))
        return attempt(kind, f"{path.name}, input {number}", lambda: decode(broken, unchanged=rng.random() < 0.5))
    text = settings_text(rng)
    file.write_bytes(text.encode("utf-8", "surrogatepass" if rng.random() < 0.2 else "replace"))
    if kind == "command":
        name = rng.choice(tuple(DECLARATIONS))
        command = rng.choice((("values",), ("convert", "-o", "-"), ("diff", str(file)), ("params",)))
        words = [*command, str(file), f"{name}={rng.choice(NASTY)}"]
        return attempt(kind, f"{words} {text[:300]!r}", lambda: _command(words))

    def act() -> None:
        settings = load(file).settings
        if number % 4 == 0 and settings.max_frames <= 1000:
            prepare(settings)

    return attempt(kind, f"{file.name}: {text[:600]!r}", act)


def weights(corpus: Corpus, seed: int, count: int) -> list[Finding]:
    """Try `count` broken files of weights; return what went wrong."""
    rng, found = random.Random(seed), list[Finding | None]()
    file = corpus.folder / "a.safetensors"
    for _ in range(count):
        file.write_bytes(header(rng))
        found.append(attempt("weights", repr(file.read_bytes()[:300]), lambda: resolve_model(str(file))))
    return [each for each in found if each is not None]


def _shown(values: object) -> str:
    try:
        return repr(values)[:300]
    except ValueError:  # a whole number of more than 4300 digits
        return "a mapping with a giant number"


def _command(words: list[str]) -> None:
    """Run a command; an unexpected error is its exit status 1, unless that means a difference."""
    if cli.main(words) == 1 and words[0] != "diff":
        raise AssertionError("exit status 1: a traceback")


def _clip(corpus: Corpus, rng: random.Random) -> Finding | None:
    path = rng.choice(corpus.clips)
    broken = corpus.folder / f"{rng.randrange(10**9)}{path.suffix}"
    broken.write_bytes(changed(rng, path.read_bytes()))
    try:
        return attempt("clip", f"{path.name}: {broken.name}", lambda: resolve_clip(broken))
    finally:
        broken.unlink()
