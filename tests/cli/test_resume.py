"""Runs that are killed and resumed: nothing of the stop can be seen in what they end in."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from deforum.video.ffmpeg import count_frames, run_ffmpeg
from tests.animation.scenarios import ALL, CLIP, PAINTED, PLAIN, settings_of
from tests.helpers.killing import Forks

pytestmark = pytest.mark.skipif(os.name == "nt", reason="processes are forked and killed as on POSIX")

PASSES = {"save_depth_maps": True, "save_depth_video": True, "save_masks": True, "subtitles": "seed strength"}
SOUND = {"video_init_path": CLIP, "add_soundtrack": "Init Video"}
SUITE: dict[str, dict[str, object]] = {
    "2D corrected/3 plain": {"cadence": 2, "subtitles": "frame prompt"},
    "2D deforum/3 plain": SOUND | {"cadence": 4},
    "3D corrected/3 everything": PASSES | {"max_frames": 4, "hybrid_comp_save_extra_frames": True, "cadence": 3},
    "3D deforum/1 plain": PASSES | {"depth_format": "exr", "max_frames": 4},
    "2D corrected/1 mask": {"frame_format": "jpeg", "save_masks": True},
    "Interpolation": {"video_format": "prores"},
    "Video Input": {"make_gif": True, "delete_imgs": True},
    "2D, painted by a model": {"max_frames": 4, "steps": 1},
}
"""Runs, and what is changed in them: both profiles, cadence 1 to 4, all modes, passes, sound, copies of frames."""


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with Forks(tmp_path_factory.mktemp("forks")) as forks:
        yield forks


def settings_file(folder: Path, name: str, changes: dict[str, object]) -> Path:
    """Write the settings of a run, and the pictures that they name beside them."""
    settings_of("2D corrected/1 plain", folder)  # makes the pictures
    values = PLAIN | {"checkpoint_every": 1} | ALL[name] | changes
    values["batch_name"] = "painted" if name in PAINTED else "run"
    path = folder / "a.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in values.items()), encoding="utf-8")
    return path


def contents(run: Path) -> dict[str, bytes]:
    """Return all files of a run but the records of what happened to it; states may differ in number."""
    files = [path for path in run.rglob("*") if path.is_file() and path.name not in ("run.json", "frames.jsonl")]
    return {str(path.relative_to(run)): path.read_bytes() for path in files if path.suffix != ".state"}


def decoded(film: Path) -> str:
    """Return a digest of each decoded picture and piece of sound of a film, with its time."""
    return run_ffmpeg(["-i", str(film), "-f", "framemd5", "-"], f"decoding {film}")


def killed_and_resumed(
    forks: Forks, folder: Path, name: str, changes: dict[str, object], seed: int, kills: int = 1
) -> None:
    """Render a run at once and with kills at random moments; both must end in the same files."""
    chance, path = random.Random(seed), settings_file(folder, name, changes)
    whole, cut = folder / "whole", folder / "cut"
    whole.mkdir()
    cut.mkdir()
    assert forks.run(whole, path, "-q")[0] == 0
    [run] = (whole / "output").iterdir()
    files, again = len((run / "frames.jsonl").read_text().splitlines()), cut / "output" / run.name
    words: list[str | Path] = [path, "-q"]
    for _ in range(kills):
        status, said = forks.run(cut, *words, kill_at=chance.randrange(files + 1), later=chance.random() * 0.05)
        assert status in (-signal.SIGKILL, 0), said
        words = ["--resume", again, "-q"]
    status, said = forks.run(cut, *words)
    assert status == 0, said
    before, after = contents(run), contents(again)
    assert sorted(before) == sorted(after)
    different = [file for file in before if before[file] != after[file]]
    # Matroska has a random number in each file: there the decoded pictures and sound are compared.
    assert [
        file for file in different if not (file.endswith(".mkv") and decoded(run / file) == decoded(again / file))
    ] == []
    assert forks.run(cut, "verify", again)[0] == 0


@pytest.mark.parametrize("name", SUITE)
def test_a_killed_run_ends_as_if_it_had_not_been(name: str, forks: Forks, tmp_path: Path) -> None:
    killed_and_resumed(forks, tmp_path, name, SUITE[name], seed=len(name))


OUTPUTS: tuple[dict[str, object], ...] = (
    {}, PASSES, SOUND | {"subtitles": "seed"}, {"frame_format": "webp"},
    {"video_format": "ffv1", "frame_format": "png16"},
    {"delete_imgs": True, "save_depth_video": True}, {"skip_video_creation": True}, {"checkpoint_every": 0},
)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("number", range(60))
def test_sixty_random_runs(number: int, forks: Forks, tmp_path: Path) -> None:
    chance = random.Random(number)
    name = chance.choice(list(ALL))
    changes = dict(chance.choice(OUTPUTS))
    if "cadence" in ALL[name]:
        changes["cadence"] = chance.randint(1, 4)
    killed_and_resumed(forks, tmp_path, name, changes, seed=number, kills=chance.choice((1, 1, 2, 3)))


# --- stops by signals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "times", "status"), [(signal.SIGINT, 1, 130), (signal.SIGTERM, 1, 143), (signal.SIGINT, 2, 130)]
)
def test_a_signal_stops_well(by: signal.Signals, times: int, status: int, forks: Forks, tmp_path: Path) -> None:
    path = settings_file(tmp_path, "2D corrected/1 plain", {"max_frames": 60})
    stopped, said = forks.run(tmp_path, path, kill_at=3, by=by, times=times, later=0.02)
    assert stopped == status and "Traceback" not in said
    assert "to go on: python render.py --resume output/run" in said
    run = tmp_path / "output" / "run"
    assert not list(run.rglob("*.part")) and list((run / "states").iterdir())
    assert (run / "run.mp4").exists() == (times == 1)
    done = len(list((run / "frames").iterdir()))
    assert forks.run(tmp_path, "verify", run)[0] == 0
    assert 3 <= done < 60
    status, said = forks.run(tmp_path, "--resume", "output/run", "-q")
    assert (status, said) == (0, "output/run/run.mp4\n")
    assert len(list((run / "frames").iterdir())) == 60


def test_a_file_pauses_a_run(forks: Forks, tmp_path: Path) -> None:
    """It is paused before its second frame; then a signal stops it, and without the file it goes on."""
    path = settings_file(tmp_path, "2D corrected/3 plain", {})
    assert forks.run(tmp_path, path, "-q", kill_at=1)[0] in (-9, 0)
    run = tmp_path / "output" / "run"
    shutil.rmtree(run / "states", ignore_errors=True)  # a run that ended before it was killed has none
    for picture in list((run / "frames").glob("*.png"))[1:]:
        picture.unlink()
    (run / "PAUSE").touch()
    status, said = forks.run(tmp_path, "--resume", run, heard="it goes on when the file", by=signal.SIGINT)
    assert status == 130 and "paused, and memory is freed" in said and "to go on: " in said
    (run / "PAUSE").unlink()
    assert forks.run(tmp_path, "--resume", run, "-q")[0] == 0
    assert len(list((run / "frames").iterdir())) == 7


# --- stops by the machine ---------------------------------------------------------------------------------------------


def test_a_full_disk_is_one_message_and_the_run_goes_on_later(forks: Forks, tmp_path: Path) -> None:
    """Files that grow too large fail as on a full disk: here the ledger, after a while."""
    small = {"max_frames": 90, "save_metadata": "false", "finish": "none"}  # the ledger is to be the largest file
    path = settings_file(tmp_path, "2D corrected/1 plain", small)
    status, said = forks.run(tmp_path, path, most_bytes=12_000)
    run = tmp_path / "output" / "run"
    assert status == 2 and said.count("run: cannot be written: File too large") == 1 and "Traceback" not in said
    assert "to go on: python render.py --resume output/run" in said
    assert not [path for path in run.rglob("*") if ".part" in path.name or "finishing" in path.name]
    assert not (run / "run.mp4").exists()
    status, said = forks.run(tmp_path, "--resume", run, "-q")
    assert status == 0 and len(list((run / "frames").iterdir())) == 90, said
    assert forks.run(tmp_path, "verify", run)[0] == 0


def test_a_disk_that_is_full_from_the_start_leaves_nothing(forks: Forks, tmp_path: Path) -> None:
    path = settings_file(tmp_path, "2D corrected/1 plain", {"frame_format": "png16"})
    status, said = forks.run(tmp_path, path, most_bytes=15_000)
    assert status == 2 and said.count("cannot be written: File too large") == 1 and "Traceback" not in said
    assert "no frame was finished" in said and not list((tmp_path / "output").iterdir())


def test_a_folder_that_is_gone_is_said(forks: Forks, tmp_path: Path) -> None:
    path = settings_file(tmp_path, "2D corrected/1 plain", {"max_frames": 200})
    run = str(tmp_path / "output" / "run")
    hook = f"import os; os.rename({run!r}, {str(tmp_path / 'elsewhere')!r})"  # at once, as a disk that is taken away
    status, said = forks.run(tmp_path, path, kill_at=5, hook=hook)
    assert status == 2 and "Traceback" not in said and "is gone, and with it the frames" in said
    assert not (tmp_path / "output" / "run").exists()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="lists the processes that a process started")
def test_the_death_of_ffmpeg_costs_nothing(forks: Forks, tmp_path: Path) -> None:
    path = settings_file(tmp_path, "2D corrected/1 plain", {"max_frames": 200})
    hook = "import os; [os.kill(int(n), 9) for n in open(f'/proc/{pid}/task/{pid}/children').read().split()]"
    status, said = forks.run(tmp_path, path, kill_at=5, hook=hook)
    assert status == 0 and "the film was made again from the frames" in said
    assert count_frames(tmp_path / "output" / "run" / "run.mp4") == 200


# --- what is resumed --------------------------------------------------------------------------------------------------


@pytest.fixture
def begun(forks: Forks, tmp_path: Path) -> Path:
    """Return a run that was stopped after a few of its frames."""
    path = settings_file(tmp_path, "2D corrected/1 plain", {"max_frames": 30})
    status, said = forks.run(tmp_path, path, "-q", kill_at=5, by=signal.SIGINT)
    assert status == 130, said
    return tmp_path / "output" / "run"


def test_other_settings_are_shown_and_refused(begun: Path, forks: Forks, tmp_path: Path) -> None:
    for words in (["--resume", begun, "steps=9"], [tmp_path / "a.yaml", "steps=9", "--resume", begun]):
        status, said = forks.run(tmp_path, *words)
        assert status == 2 and "steps: 2 in the run, 9 now" in said and "--with steps=9" in said
    (begun / "settings.yaml").write_text((begun / "settings.yaml").read_text().replace("steps: 2", "steps: 4"))
    status, said = forks.run(tmp_path, "--resume", begun)
    assert status == 2 and "steps: 2 in the run, 4 now" in said
    status, said = forks.run(tmp_path, "--resume", begun, "--with", "steps=4", "--with", "cadence=3")
    assert status == 2 and "cadence cannot change within a run" in said


def test_changed_settings_apply_from_the_resumed_frame_on(begun: Path, forks: Forks, tmp_path: Path) -> None:
    from deforum.output.record import read_record

    before = {path.name: path.read_bytes() for path in (begun / "frames").iterdir()}
    status, said = forks.run(tmp_path, "--resume", begun, "--with", "zoom=1.2", kill_at=len(before) + 4, later=0.01)
    assert status == -signal.SIGKILL, said
    status, said = forks.run(tmp_path, "--resume", begun)
    assert status == 0, said
    first, second = read_record(begun).parts
    assert second.changes == ("zoom=1.2",) and first.since == 0 and 3 < second.since <= len(before)
    kept = {name for name in before if int(name[:9]) < second.since}
    assert all((begun / "frames" / name).read_bytes() == before[name] for name in kept)
    assert f"# From frame {second.since} on: zoom=1.2" in (begun / "settings.yaml").read_text()
    assert forks.run(tmp_path, "verify", begun)[0] == 0
    damaged = begun / "frames" / f"{second.since + 1:09}.png"
    content = damaged.read_bytes()
    damaged.unlink()
    assert forks.run(tmp_path, "verify", begun)[0] == 1
    status, said = forks.run(tmp_path, "--resume", begun)
    assert status == 0 and damaged.read_bytes() == content, said


def test_a_run_that_is_going_is_not_resumed_twice(begun: Path, forks: Forks, tmp_path: Path) -> None:
    from deforum.output.ledger import Ledger

    ledger = Ledger(begun)
    status, said = forks.run(tmp_path, "--resume", begun)
    assert status == 2 and "this run is going" in said and "by process" in said
    ledger.close()
    assert forks.run(tmp_path, "--resume", begun, "-q")[0] == 0
    status, said = forks.run(tmp_path, "--resume", begun)
    assert status == 0 and "finished and whole: nothing is left to do" in said


def test_a_file_that_a_run_was_made_from_must_be_there_as_it_was(forks: Forks, tmp_path: Path) -> None:
    path = settings_file(tmp_path, "2D corrected/1 mask", {"max_frames": 30})
    assert forks.run(tmp_path, path, "-q", kill_at=5, by=signal.SIGINT)[0] == 130
    mask = tmp_path / "mask.png"
    content = mask.read_bytes()
    mask.write_bytes(content + b"more")
    status, said = forks.run(tmp_path, "--resume", tmp_path / "output" / "run")
    assert status == 2 and "mask.png: has" in said
    mask.write_bytes(content)
    assert forks.run(tmp_path, "--resume", tmp_path / "output" / "run", "-q")[0] == 0


# --- sweeps, batches, old files ---------------------------------------------------------------------------------------


def test_a_sweep_goes_on_with_what_is_not_done(forks: Forks, tmp_path: Path) -> None:
    path = settings_file(tmp_path, "2D corrected/1 plain", {"max_frames": 6})
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    assert forks.run(whole, path, "seed=1,2,3", "-q")[0] == 0
    assert forks.run(cut, path, "seed=1,2,3", "-q")[0] == 0
    folder = cut / "output" / "a_sweep"
    shutil.rmtree(folder / "run_seed=3")
    (folder / "run_seed=2" / "frames" / "000000004.png").unlink()
    (folder / "run_seed=2" / "run_seed=2.mp4").unlink()
    untouched = (folder / "run_seed=1" / "run.json").stat().st_mtime_ns
    status, said = forks.run(cut, "--resume", folder)
    assert status == 0 and "finished and whole" in said
    assert (folder / "run_seed=1" / "run.json").stat().st_mtime_ns == untouched
    before, after = contents(whole / "output" / "a_sweep"), contents(folder)
    assert sorted(before) == sorted(after) and "sheet.png" in after
    assert [file for file in before if before[file] != after[file]] == []


def test_a_batch_is_continued_by_the_same_command(forks: Forks, tmp_path: Path) -> None:
    path = settings_file(tmp_path, "2D corrected/1 plain", {"max_frames": 4})
    for name in ("b", "c"):
        (tmp_path / f"{name}.yaml").write_text(path.read_text().replace("batch_name: run", f"batch_name: {name}"))
    words = (path, tmp_path / "b.yaml", tmp_path / "c.yaml")
    assert forks.run(tmp_path, *words[:2], "-q")[0] == 0
    status, said = forks.run(tmp_path, *words, "--continue")
    assert status == 0 and said.count("finished and whole") == 2
    assert sorted(each.name for each in (tmp_path / "output").iterdir()) == ["b", "c", "run"]


def test_old_files_name_the_run_to_resume_by_its_time(begun: Path, forks: Forks, tmp_path: Path) -> None:
    named = begun.with_name("Deforum_20260131180300")
    begun.rename(named)
    words = (tmp_path / "a.yaml", "resume_from_timestring=true")
    status, said = forks.run(tmp_path, *words, "resume_timestring=20260131180301", "-q")
    assert status == 2 and "20260131180301" in said
    status, said = forks.run(tmp_path, *words, "resume_timestring=20260131180300", "-q")
    assert (status, said) == (0, f"output/{named.name}/{named.name}.mp4\n")
    assert len(list((named / "frames").iterdir())) == 30
