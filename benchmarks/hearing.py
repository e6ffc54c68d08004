"""Measure how well music is heard, on synthetic songs: beats, tempo, levels, sections, and the time it takes.

    python -m benchmarks.hearing [--songs 60] [--film FOLDER]

The songs differ in tempo (80 to 170 beats a minute), drums, swing, timing, noise, rests, changes of tempo, meter,
channels and sample rate, and in the time before the first beat; `songs.py` plays them. The baseline takes the tempo
from the strongest lag of the onsets' autocorrelation, and the phase that fits best, for the whole song.

With --film it measures how a rendered film of examples/music_video.yaml answers the beat: the radial optical flow from
frame to frame, beside the beat and beside the zoom that is set.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.songs import Part, Song, Style, Tempo, change, compose, steady
from deforum.audio.beats import find_beats, onset_strength
from deforum.audio.listening import hear
from deforum.audio.sections import find_sections
from deforum.audio.spectra import RATE, SAMPLE_RATE, analyse, band_level

NEAR, FRAME_OF_SECTION = 0.035, 1.0
DRUMS = ("kick snare hats", "four hats", "kick snare", "four snare hats", "kick hats", "")
TUNES = ("bass pad", "bass pad tune", "keys bass", "tune pad", "bass", "tune")


def songs(count: int) -> Iterator[tuple[str, Song]]:
    """Yield songs, each another mixture of tempo, style and instruments; the same ones in each run."""
    rng = np.random.default_rng(20)
    for number in range(count):
        bpm = float(rng.uniform(80, 170))
        drums, tune = str(rng.choice(DRUMS)), str(rng.choice(TUNES))
        if not drums and tune in ("bass", "bass pad"):
            tune = "keys bass"
        bars = int(24 * bpm / 60 / 4) + 2
        kind = ("plain", "swing", "loose", "noise", "rest", "late", "jump", "drift", "stereo", "rate")[number % 10]
        tempo: Tempo = steady(bpm)
        other = float(np.clip(bpm * rng.choice([0.75, 0.85, 1.15, 1.3]), 80, 170))
        if kind in ("jump", "drift"):
            tempo = change(bpm, other, 2 * bars, 0 if kind == "jump" else bars)
        style = Style(
            swing=2 / 3 if kind == "swing" else 0.5,
            loose=0.008 if kind == "loose" else 0.002,
            noise={"noise": 0.04}.get(kind, 0.001),
            first={"late": float(rng.uniform(0.2, 3))}.get(kind, 0.0),
            silence=(8.0, float(rng.uniform(10, 12))) if kind == "rest" else None,
            channels=2 if kind == "stereo" else 1,
            meter=3 if rng.random() < 0.15 else 4,
            sixteenths=bool(rng.random() < 0.2),
            half_time=bool(rng.random() < 0.15),
            seed=number,
        )
        rate = int(rng.choice([22_050, 32_000, 48_000, 96_000])) if kind == "rate" else SAMPLE_RATE
        parts = [Part(bars // 2, f"{drums} {tune}"), Part(bars - bars // 2, f"{drums} {tune}", (2, 3, 0, 1))]
        yield f"{kind}, {bpm:.0f} bpm, {drums or 'no drums'} {tune}", compose(parts, tempo, style, rate)


def hits(found: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    """Return the share of the beats that are found within NEAR."""
    return float((np.abs(found[None] - true[:, None]).min(axis=1) <= NEAR).mean()) if len(found) else 0.0


def plain_beats(bands: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return beats at one tempo: the baseline."""
    onset = onset_strength(bands)[0].astype(np.float64)
    onset -= onset.mean()
    lags = np.arange(round(60 * RATE / 170), round(60 * RATE / 80) + 1)
    lag = int(lags[np.argmax([onset[:-each] @ onset[each:] for each in lags])])
    phase = int(np.argmax([onset[shift::lag].sum() for shift in range(lag)]))
    return np.arange(phase, len(onset), lag) / RATE


def measure_beats(count: int) -> None:
    scores: list[float] = []
    plain: list[float] = []
    levels: list[bool] = []
    for name, song in songs(count):
        samples = resampled(song)
        spectra = analyse([samples])
        found = find_beats(spectra.onset_bands)
        scores.append(hits(found, song.beats))
        plain.append(hits(plain_beats(spectra.onset_bands), song.beats))
        levels.append(0.8 < len(found) / len(song.beats) < 1.25)
        if scores[-1] < 0.95 or not levels[-1]:
            print(f"  {name}: {scores[-1]:.0%} of the beats, {len(found)} found of {len(song.beats)}")
    good = np.mean([score >= 0.95 and level for score, level in zip(scores, levels, strict=True)])
    print(f"beats within 35 ms: {np.mean(scores):.1%} of all (target: 95 %), one steady tempo: {np.mean(plain):.1%}")
    print(f"songs with 95 % of their beats, at the level they are written at: {good:.0%} of {count}")


def resampled(song: Song) -> NDArray[np.float32]:
    """Return the samples of a song at SAMPLE_RATE, by linear interpolation."""
    if song.rate == SAMPLE_RATE:
        return song.samples
    at = np.arange(int(len(song.samples) * SAMPLE_RATE / song.rate)) / SAMPLE_RATE * song.rate
    order = np.arange(len(song.samples))
    return np.stack([np.interp(at, order, channel) for channel in song.samples.T], axis=1).astype(np.float32)


def measure_levels() -> None:
    seconds, worst = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE, 0.0
    for hz in (40, 60, 100, 250, 1000, 4000, 10_000):
        for amplitude in (0.9, 0.1, 0.01):
            tone = (amplitude * np.sin(2 * np.pi * hz * seconds)).astype(np.float32)[:, None]
            level = band_level([tone], hz * 0.7, hz * 1.4)[50:150]
            worst = max(worst, float(np.abs(20 * np.log10(level / amplitude)).max()))
    noise = np.random.default_rng(0).standard_normal((20 * SAMPLE_RATE, 1)).astype(np.float32) * np.float32(0.1)
    for low, high in ((50, 100), (200, 400), (1000, 4000), (8000, 16_000)):
        power = float((band_level([noise], low, high).astype(float) ** 2).mean())
        worst = max(worst, abs(10 * float(np.log10(power / (0.02 * (high - low) / (SAMPLE_RATE / 2))))))
    print(f"levels of bands: off by at most {worst:.2f} dB, tones and noise (target: 1 dB)")


def measure_sections(count: int) -> None:
    rng, scores = np.random.default_rng(8), list[float]()
    plays = ("pad tune", "kick snare hats bass pad", "four hats bass keys", "kick hats pad", "keys bass", "pad",
             "kick snare hats bass pad tune", "kick snare bass keys tune")  # fmt: skip
    for number in range(count):
        kinds = [
            Part(8, str(play), tuple(int(each) for each in rng.permutation(6)[:4]),
                 key=int(rng.choice([50, 53, 57, 60])), bright=float(rng.choice([0.4, 0.8, 1.2])))
            for play in rng.permutation(plays)[:3]
        ]  # fmt: skip
        order = ((0, 1, 0, 1, 2, 1), (0, 1, 2, 1, 2, 0, 1), (0, 1, 2))[number % 3]
        parts = [Part(int(rng.choice([4, 8, 12])), kinds[n].plays, kinds[n].chords, kinds[n].key, 1.0, kinds[n].bright)
                 for n in order]  # fmt: skip
        song = compose(parts, float(rng.uniform(80, 170)), Style(seed=number, noise=0.002))
        spectra = analyse([song.samples])
        found = np.array([each.start for each in find_sections(spectra, find_beats(spectra.onset_bands))[1:]])
        hit = sum(bool(len(found)) and np.abs(found - each).min() <= FRAME_OF_SECTION for each in song.sections)
        scores.append(2 * hit / (len(found) + len(song.sections)))
    print(f"sections within 1 s: F1 {np.mean(scores):.2f} on average, {min(scores):.2f} at least (target: 0.8)")


def measure_time(folder: Path) -> None:
    part = Part(16, "kick snare hats bass pad tune")
    song = compose([part] * 8, 128, Style(channels=2))
    path = song.write(folder / "song.wav")
    start = time.perf_counter()
    heard = hear(path)
    first = time.perf_counter() - start
    again = path.with_name("again.wav")
    again.write_bytes(path.read_bytes())
    start = time.perf_counter()
    hear(again)
    kept = time.perf_counter() - start
    print(f"hearing {heard.seconds / 60:.1f} minutes of stereo: {first:.1f} s (target: 3 s for 4 minutes), "
          f"from the cache {kept:.2f} s")  # fmt: skip


def measure_film(folder: Path) -> None:
    import cv2

    from deforum import load
    from deforum.features.table import timeline_of

    settings = load(folder, ["output=output"]).settings
    timeline, previous, radial = timeline_of(settings), None, [0.0]
    finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
    for path in sorted((folder / "frames").glob("*.png")):
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        gray = cv2.resize(picture, (256, 256))
        if previous is not None:
            flow = finder.calc(previous, gray, None)
            y, x = np.mgrid[-127.5:128, -127.5:128]
            # The scale that fits the flow best: flow = scale * position.
            radial.append(float((flow[..., 0] * x + flow[..., 1] * y).sum() / (x * x + y * y).sum()))
        previous = gray
    frames = np.arange(len(radial))
    beat = timeline.variables.heard().at("beat", frames)
    drums = frames >= timeline.variables.heard().place("bar", 4)
    seen = np.array(radial)
    on, off = seen[drums & (beat == 1)].mean(), seen[drums & (beat < 0.2)].mean()
    together = np.corrcoef(seen[drums], beat[drums])[0, 1]
    print(f"zoom seen with drums, beside the beat: correlation {together:.2f}; {on:.1%} on a beat, {off:.1%} between")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=60)
    parser.add_argument("--film", type=Path)
    options = parser.parse_args()
    if options.film is not None:
        measure_film(options.film)
        return
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        measure_time(Path(folder))
    measure_levels()
    measure_beats(options.songs)
    measure_sections(max(options.songs // 4, 4))


if __name__ == "__main__":
    main()
