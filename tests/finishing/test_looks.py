"""Looks act at edges, and only there."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from deforum.finishing.looks import LOOKS, Picture, find_edges, gouache, ink, plain, shock

SIDE = 96
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def across(levels: np.ndarray) -> Picture:
    """Return a picture whose columns have the given grey levels, tinted."""
    tint = np.array([1.0, 0.9, 0.8], np.float32)
    return np.asarray(np.broadcast_to(levels[None, :, None], (SIDE, len(levels), 3)) * tint, np.float32).copy()


def edge(width: float, contrast: float = 0.4) -> Picture:
    """Return a bright half beside a dark one, with an edge that is a Gaussian of this width."""
    x = np.arange(SIDE) - SIDE / 2 + 0.5
    return across(0.3 + contrast / (1 + np.exp(-1.7 * x / width)))


def sun(softness: float) -> Picture:
    """Return a glow in the middle of a dark sky."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    glow = 0.2 + 0.7 * np.exp(-(x * x + y * y) / (2 * softness**2))
    return np.asarray(np.repeat(glow[..., None], 3, axis=2), np.float32)


def steepest(picture: Picture) -> float:
    return float(np.abs(np.diff(picture[SIDE // 2] @ LUMA)).max())


@pytest.mark.parametrize("width", [2.0, 3.0, 4.0])
def test_a_shock_filter_makes_edges_hard(width: float) -> None:
    soft = edge(width)
    hard = shock(soft)
    assert steepest(hard) > 1.5 * steepest(soft)
    assert np.abs(hard - soft)[:, : SIDE // 4].max() < 1e-3  # beside the edge nothing changes
    assert hard.min() >= soft.min() - 1e-6 and hard.max() <= soft.max() + 1e-6  # and no halo appears


@pytest.mark.parametrize("width", [2.0, 3.0])
def test_plain_frames_have_firmer_edges_without_halos(width: float) -> None:
    soft = edge(width)
    firm = plain(soft)
    assert 1.15 * steepest(soft) < steepest(firm) < steepest(shock(soft))
    assert firm.min() >= soft.min() - 1e-6 and firm.max() <= soft.max() + 1e-6


@pytest.mark.parametrize("softness", [16.0, 24.0])
def test_a_glow_stays_one(softness: float) -> None:
    glow = sun(softness)
    assert np.abs(shock(glow) - glow).max() < 2 / 255
    even = gouache(glow)
    assert steepest(even) < 1.3 * steepest(glow)  # a contour would be several times as steep
    assert np.abs(even - glow).max() < 7 / 255  # its peak is evened a little


@pytest.mark.parametrize("turned", [False, True])
def test_edges_are_found_across(turned: bool) -> None:
    half = cv2.resize((edge(1.5) @ LUMA).astype(np.float32), (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
    edges = find_edges(half.T.copy() if turned else half)
    middle = (SIDE // 4, SIDE // 4)
    along, beside = (edges.xx, edges.yy) if turned else (edges.yy, edges.xx)
    assert beside[middle] > 0.98 and along[middle] < 0.02 and abs(edges.xy[middle]) < 0.1
    assert edges.strength[middle] > 0.9 and edges.strength[5, 5] == 0


def test_gouache_evens_areas_and_keeps_what_is_between_them() -> None:
    rng, halves = np.random.default_rng(0), edge(1.5)
    grainy = np.asarray((halves + rng.normal(0, 0.02, (SIDE, SIDE, 1))).clip(0, 1), np.float32)
    even = gouache(grainy)
    inside = (slice(20, -20), slice(8, SIDE // 2 - 10))
    assert even[inside].std(axis=(0, 1)).max() < 0.4 * grainy[inside].std(axis=(0, 1)).max()
    assert steepest(even) > 1.2 * steepest(halves)


def test_ink_draws_a_line_at_an_edge_and_thins_the_rest() -> None:
    drawn = ink(edge(2.0)) @ LUMA
    row = drawn[SIDE // 2]
    assert row[SIDE // 2 - 6 : SIDE // 2 + 6].min() < 0.5 * row[5]
    assert row[5] > (edge(2.0) @ LUMA)[SIDE // 2, 5]  # thinner paint is lighter
    assert abs(row[5] - row[20]) < 0.02


def test_ink_draws_a_fainter_line_at_a_fainter_edge() -> None:
    middle = slice(SIDE // 2 - 6, SIDE // 2 + 6)
    lines = [(ink(edge(2.0, contrast)) @ LUMA)[SIDE // 2] for contrast in (0.08, 0.12, 0.2, 0.3)]
    depths = [1 - line[middle].min() / line[5] for line in lines]
    assert depths[0] < 0.1 and depths[-1] > 0.5
    assert all(fainter < clearer - 0.02 for fainter, clearer in itertools.pairwise(depths))


def test_flat_paper_stays_flat() -> None:
    flat = across(np.full(SIDE, 0.5))
    for look in LOOKS.values():
        assert np.ptp(look(flat), axis=(0, 1)).max() < 1e-5
