"""Every example, rendered small with the embedded model, from the command line to the decoded video."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from deforum.cli.main import main
from deforum.video.ffmpeg import count_frames

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def decode(path: Path) -> NDArray[np.uint8]:
    """Read all frames of a video or an animated picture: (F, H, W, 3) BGR."""
    if path.suffix == ".webp":
        with Image.open(path) as picture:
            return np.stack([np.asarray(each.convert("RGB"))[..., ::-1] for each in ImageSequence.Iterator(picture)])
    video, frames = cv2.VideoCapture(str(path)), []
    while (got := video.read())[0]:
        frames.append(got[1])
    return np.stack(frames)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # As small as the embedded model is usable: below, a misty wood is nearly one colour.
    small = ["width=192", "height=128", "max_frames=5", "steps=4"]
    assert main([str(path), *small, "-o", str(tmp_path)]) == 0
    video = Path(capsys.readouterr().out.strip().splitlines()[-1])
    frames = decode(video)
    assert frames.shape == (5, 256, 384, 3)  # finished
    assert all(frame.std() > 8 for frame in frames), "a frame is blank"
    stills = sorted((video.parent / "frames").glob("*.png"))
    assert len(stills) == 5
    # The video shows the frames that were written: H.264 is lossy, chroma is halved.
    assert np.abs(cv2.imread(str(stills[-1])).astype(int) - frames[-1]).mean() < 8


def test_the_resolved_settings_render_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["width=64", "height=64", "max_frames=3", "steps=3", "cadence=1", "seed=-1"]
    assert main([str(ROOT / "examples" / "quickstart.yaml"), *small, "-o", str(tmp_path / "a")]) == 0
    first = Path(capsys.readouterr().out.strip().splitlines()[-1]).parent
    assert main([str(first / "settings.yaml"), "-o", str(tmp_path / "b")]) == 0
    second = Path(capsys.readouterr().out.strip().splitlines()[-1]).parent
    for still in sorted((first / "frames").glob("*.png")):
        assert np.array_equal(cv2.imread(str(still)), cv2.imread(str(second / "frames" / still.name))), still.name


def test_a_frame_can_be_rendered_again_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every random number follows from (seed, frame, purpose): a longer run has the same beginning."""
    pictures = []
    for count in (3, 5):
        small = ["width=64", "height=64", f"max_frames={count}", "steps=3", "cadence=1", "noise=0.1"]
        assert main([str(ROOT / "examples" / "quickstart.yaml"), *small, "-o", str(tmp_path / str(count))]) == 0
        run = Path(capsys.readouterr().out.strip().splitlines()[-1]).parent
        pictures.append([cv2.imread(str(still)) for still in sorted((run / "frames").glob("*.png"))])
    assert all(np.array_equal(a, b) for a, b in zip(*pictures, strict=False))


def test_depth_is_saved_for_every_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["width=128", "height=128", "max_frames=5", "steps=4", "cadence=2", "prompts={0: the sea at sunset}"]
    small += ["save_depth_maps=true", "save_depth_video=true", "save_disocclusion_masks=true", "disocclusion=repaint"]
    assert main([str(ROOT / "examples" / "flythrough.yaml"), *small, "-o", str(tmp_path)]) == 0
    run = Path(capsys.readouterr().out.strip().splitlines()[-1]).parent
    maps = sorted((run / "depth").glob("*.png"))
    assert [path.stem for path in maps] == [f"{index:09d}" for index in range(5)]
    assert count_frames(run / f"{run.name}_depth.mp4") == 5
    assert sorted(path.stem for path in (run / "disocclusion").glob("*.png")) == ["000000002", "000000004"]
    for path in maps:
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert depth.dtype == np.uint16 and depth.shape == (128, 128)
        assert depth[96:].mean() > depth[:32].mean(), "the ground below is nearer than the sky above"
