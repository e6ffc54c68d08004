"""Texts in pictures: written ones are read back, by us and by other programs; hostile files are read within limits."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from deforum.metadata import exif, gif, jpeg, png, read_texts, webp
from deforum.metadata.limits import LONGEST, Texts

TEXTS = {
    "Software": "deforum 1",
    "parameters": "a calm sea, ärger 港 😀\nNegative prompt: fog\nSteps: 25, Sampler: Euler a",
    "deforum_settings": "prompts: 'ärger 港'\n" * 400,
    "deforum_frame": '{"frame": 3}',
}


def picture(suffix: str, **options: object) -> bytes:
    """Encode a small picture with Pillow."""
    file = io.BytesIO()
    Image.fromarray(np.arange(32 * 24 * 3, dtype=np.uint8).reshape(24, 32, 3)).save(file, suffix, **options)
    return file.getvalue()


LABELS: dict[str, Callable[..., bytes]] = {"png": png.label, "jpeg": jpeg.label, "webp": webp.label}


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", LABELS)
def test_texts_are_read_back_and_pixels_are_the_same(kind: str, tmp_path: Path) -> None:
    plain = picture(kind)
    path = written(tmp_path / "a", LABELS[kind](plain, TEXTS))
    assert read_texts(path) == TEXTS
    assert (cv2.imread(str(path)) == cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_COLOR)).all()
    with Image.open(path) as opened:
        opened.load()
        assert opened.size == (32, 24)


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 80}], ids=["VP8L", "VP8"])
def test_both_kinds_of_webp(options: dict[str, object], tmp_path: Path) -> None:
    path = written(tmp_path / "a", webp.label(picture("webp", **options), TEXTS))
    assert read_texts(path) == TEXTS and cv2.imread(str(path)).shape == (24, 32, 3)


def test_pillow_reads_what_we_write(tmp_path: Path) -> None:
    """As the web UI does: `parameters` of a PNG, UserComment of the others, UTF-16 in the byte order of its library."""
    with Image.open(io.BytesIO(png.label(picture("png"), TEXTS))) as opened:
        assert {key: str(text) for key, text in opened.info.items()} == TEXTS
    for kind in ("jpeg", "webp"):
        with Image.open(io.BytesIO(LABELS[kind](picture(kind), TEXTS))) as opened:
            comment = opened.getexif().get_ifd(0x8769)[0x9286]
            assert comment[:8] == b"UNICODE\0" and comment[8:].decode("utf-16-be") == TEXTS["parameters"]
            assert opened.getexif()[0x0131] == "deforum 1"


def with_user_comment(comment: bytes) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0131] = "another program"  # Pillow writes no EXIF into a PNG without a tag of the first directory
    tags.get_ifd(0x8769)[0x9286] = comment
    return tags


PARAMETERS = TEXTS["parameters"]


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + PARAMETERS.encode("utf-16-be"),
        b"UNICODE\0" + PARAMETERS.encode("utf-16-le"),
        b"ASCII\0\0\0" + PARAMETERS.encode(),
        bytes(8) + PARAMETERS.encode(),
    ],
    ids=["big-endian", "little-endian", "ASCII", "undefined"],
)
@pytest.mark.parametrize("kind", ["jpeg", "webp", "png"])
def test_user_comments_of_other_programs(kind: str, comment: bytes, tmp_path: Path) -> None:
    path = written(tmp_path / "a", picture(kind, exif=with_user_comment(comment)))
    assert read_texts(path) == {"parameters": PARAMETERS}


def test_png_texts_of_other_programs(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "plain ä")
    info.add_text("packed", "a" * 5000, zip=True)
    info.add_itxt("parted", "港", "zh", "翻译", zip=True)
    plain = picture("png", pnginfo=info)
    late = png._seal(b"tEXt", b"late\0behind the pixels")
    path = written(tmp_path / "a", plain[:-12] + late + plain[-12:])
    assert read_texts(path) == {
        "parameters": "plain ä", "packed": "a" * 5000, "parted": "港", "late": "behind the pixels",
    }  # fmt: skip


def test_comfy_writes_webp_into_make_and_model(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0110], tags[0x010F] = 'prompt:{"1": {}}', 'workflow:{"a": 1}'
    path = written(tmp_path / "a", picture("webp", exif=tags))
    assert read_texts(path) == {"prompt": '{"1": {}}', "workflow": '{"a": 1}'}


@pytest.mark.parametrize("length", [1, 253, 254, 255, 5000])
def test_the_comment_of_a_gif(length: int, tmp_path: Path) -> None:
    text = ("!ä港\n" * length)[:length]
    path = written(tmp_path / "a.gif", picture("gif"))
    before = cv2.VideoCapture(str(path)).read()[1]
    gif.label_file(path, text)
    assert read_texts(path) == {"comment": text}
    assert (cv2.VideoCapture(str(path)).read()[1] == before).all()
    with Image.open(path) as opened:
        opened.load()


def test_a_gif_comment_of_other_programs(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gif", picture("gif", comment=b"Steps: 20"))
    assert read_texts(path) == {"comment": "Steps: 20"}


def test_an_animated_webp(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    frames = [Image.new("RGB", (32, 24), color) for color in ("red", "lime")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    webp.label_file(path, {"deforum_settings": "seed: 1"})
    assert read_texts(path) == {"deforum_settings": "seed: 1"}
    with Image.open(path) as opened:
        assert opened.n_frames == 2


# --- files of strangers -----------------------------------------------------------------------------------------------


def bomb() -> bytes:
    """Half a kilobyte for each megabyte."""
    return zlib.compress(bytes(50 * 2**20), 9)


def png_of(*chunks: bytes) -> bytes:
    plain = picture("png")
    return plain[:33] + b"".join(chunks) + plain[33:]


HOSTILE = {
    "zTXt bomb": png_of(png._seal(b"zTXt", b"deforum_settings\0\0" + bomb())),
    "iTXt bomb": png_of(png._seal(b"iTXt", b"deforum_settings\0\1\0\0\0" + bomb())),
    "damaged zTXt": png_of(png._seal(b"zTXt", b"deforum_settings\0\0xx")),
    "endless chunk": picture("png")[:33] + struct.pack(">I4s", 2**31 - 1, b"tEXt") + b"deforum_settings\0x",
    "no separators": png_of(png._seal(b"iTXt", b"deforum_settings"), png._seal(b"zTXt", b"x")),
    "too long": png_of(png._seal(b"tEXt", b"deforum_settings\0" + b"x" * (LONGEST + 1))),
    "many": png_of(*(png._seal(b"tEXt", b"%d\0" % index + b"x" * LONGEST) for index in range(5))),
    "EXIF that points into itself": jpeg.label(picture("jpeg"), {})[:2]
    + jpeg._segment(0xE1, exif.PREFIX + b"MM\0*" + struct.pack(">IHHHII", 8, 1, 0x8769, 4, 1, 8)),
    "EXIF of zeros": jpeg.label(picture("jpeg"), {})[:2] + jpeg._segment(0xE1, exif.PREFIX + b"II*\0"),
    "short JPEG": b"\xff\xd8\xff\xe1\0\1",
    "JSON of another shape": picture("jpeg")[:2] + jpeg._segment(0xFE, b'{"a": [1, {"b": 2}], "c": 3}'),
    "JSON that nests": picture("jpeg")[:2] + jpeg._segment(0xFE, b'{"a":' * 10_000),
    "WebP that ends": picture("webp")[:14],
    "WebP of a wrong size": b"RIFF\xff\xff\xff\xffWEBPEXIF\xff\xff\xff\xff",
    "GIF that ends": b"GIF89a\1",
    "GIF of blocks": b"GIF89a" + bytes(7) + b"\x21\xfe" + b"\1x" * 20_000,
    "GIF of comments": b"GIF89a" + bytes(7) + b"\x21\xfe\0" * 20_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_read_within_limits(name: str, tmp_path: Path) -> None:
    import tracemalloc

    path = written(tmp_path / "a", HOSTILE[name])
    tracemalloc.start()
    texts = read_texts(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert texts is not None and "deforum_settings" not in texts
    assert sum(map(len, texts.values())) <= 4 * LONGEST and peak < 60 * 2**20


@pytest.mark.parametrize("kind", LABELS)
def test_any_cut_of_a_file_can_be_read(kind: str, tmp_path: Path) -> None:
    whole = LABELS[kind](picture(kind), TEXTS)
    for length in range(0, len(whole), len(whole) // 150):
        texts = read_texts(written(tmp_path / "a", whole[:length]))
        assert texts is None or all(TEXTS[key] == text for key, text in texts.items() if key in TEXTS)


def test_texts_too_long_for_a_segment_do_not_break_a_jpeg(tmp_path: Path) -> None:
    texts = TEXTS | {"parameters": "x" * 40_000, "deforum_settings": "y" * 200_000}
    path = written(tmp_path / "a", jpeg.label(picture("jpeg"), texts))
    assert read_texts(path) == {key: text for key, text in texts.items() if key != "parameters"}
    assert cv2.imread(str(path)).shape == (24, 32, 3)


def test_no_picture(tmp_path: Path) -> None:
    assert read_texts(written(tmp_path / "a", b"seed: 3")) is None


def test_our_exif_is_what_its_standard_says() -> None:
    texts = Texts()
    exif.read(exif.write("p", json.dumps({"a": "b"}).encode(), "s"), texts)
    assert texts.found == {"parameters": "p", "a": "b"}
