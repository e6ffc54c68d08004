"""Levels of bands: exact for tones and noise; the same however a sound is cut into blocks."""

from __future__ import annotations

import numpy as np
import pytest

from deforum.audio.spectra import BANDS, RATE, SAMPLE_RATE, analyse, band_level

SECONDS = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE


def decibels(value: float) -> float:
    return 20 * float(np.log10(value))


@pytest.mark.parametrize(
    ("hz", "amplitude"), [(45, 0.5), (60, 1.0), (110, 0.02), (440, 0.3), (1500, 0.1), (9000, 0.25)]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_the_level_of_a_tone_is_its_amplitude(hz: float, amplitude: float, channels: int) -> None:
    tone = np.repeat((amplitude * np.sin(2 * np.pi * hz * SECONDS))[:, None], channels, axis=1).astype(np.float32)
    found = analyse([tone])
    inside = next(name for name, (low, high) in BANDS.items() if name != "amp" and low < hz < high)
    middle = len(found.levels["amp"]) // 2
    for name in ("amp", inside):
        assert abs(decibels(found.levels[name][middle] / amplitude)) < 0.2, name
    assert all(found.levels[name][middle] < amplitude / 30 for name in BANDS if name not in ("amp", inside))
    assert abs(decibels(band_level([tone], hz * 0.6, hz * 1.5)[middle] / amplitude)) < 0.3
    assert found.envelope.max() == pytest.approx(amplitude, rel=0.02)


def test_the_level_of_noise_goes_with_the_width_of_the_band() -> None:
    noise = np.random.default_rng(0).standard_normal((10 * SAMPLE_RATE, 1)).astype(np.float32) * np.float32(0.1)
    for low, high in ((60, 120), (300, 700), (5000, 10_000)):
        squares = float((band_level([noise], low, high).astype(float) ** 2).mean())
        expected = 2 * 0.01 * (high - low) / (SAMPLE_RATE / 2)
        assert abs(decibels((squares / expected) ** 0.5)) < 1, (low, high)


def test_blocks_do_not_matter() -> None:
    noise = np.random.default_rng(0).standard_normal((2 * SAMPLE_RATE + 77, 2)).astype(np.float32)
    whole, cut = analyse([noise]), analyse([noise[:100], noise[100:50_000], noise[50_000:50_001], noise[50_001:]])
    assert len(whole.levels["amp"]) == len(whole.onset_bands) == len(whole.envelope) == 2 * RATE + 1
    for name in BANDS:
        np.testing.assert_allclose(whole.levels[name], cut.levels[name], rtol=1e-4)
    np.testing.assert_allclose(whole.onset_bands, cut.onset_bands, rtol=1e-3, atol=1e-6)
