"""Grids of any ratio."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.regridding import (
    resampling_margin,
    resampling_matrix,
    result_bounds,
    result_length,
)


@given(st.integers(1, 60), st.floats(0.3, 7), st.data())
def test_neighbouring_intervals_give_every_pixel_once(length, factor, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, length - 1)), max_size=5)))
    edges = [0, *(c for c in cuts if c < length), length]
    bounds = [result_bounds(a, b, length, factor) for a, b in pairwise(edges)]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == result_length(length, factor)
    assert all(a[1] == b[0] for a, b in pairwise(bounds))


@given(st.integers(1, 50), st.integers(1, 6))
def test_whole_factors_give_whole_pixels(length, factor):
    assert result_length(length, factor) == length * factor
    for start in range(length):
        expected = (start * factor, (start + 1) * factor)
        assert result_bounds(start, start + 1, length, factor) == expected


def test_the_same_grid_is_left_as_it_is():
    assert np.array_equal(resampling_matrix(7, 7, step=1.0, offset=0.0), np.eye(7))
    moved = resampling_matrix(7, 4, step=1.0, offset=2.0)
    assert np.array_equal(moved, np.eye(7)[2:6])


@given(st.floats(0.2, 1.0), st.floats(0, 3))
def test_finer_pixels_reproduce_a_cubic(step, offset):
    new = int((30 - offset) / step)
    positions = offset + step * np.arange(new)
    line = np.arange(31.0)
    matrix = resampling_matrix(31, new, step=step, offset=offset)
    assert np.allclose(matrix @ (line**3), positions**3, rtol=1e-9, atol=1e-6)


@given(st.floats(1.5, 4))
def test_wider_pixels_do_not_alias(step):
    # The fastest oscillation of the old pixels lies beyond what the new ones can hold.
    line = (-1.0) ** np.arange(80)
    new = int(80 / step)
    matrix = resampling_matrix(80, new, step=step, offset=(step - 1) / 2)
    assert np.allclose(matrix.sum(1), 1)
    assert np.abs(matrix @ line)[2:-2].max() < 0.25


@pytest.mark.parametrize(("step", "detail"), [(0.7, 1.0), (1.15, 1.2), (2.6, 1.0)])
def test_nothing_beyond_the_margin_matters(step, detail):
    margin = resampling_margin(step, detail)
    matrix = resampling_matrix(200, 40, step=step, offset=60.0, detail=detail)
    positions = 60 + step * np.arange(40)
    away = np.abs(np.arange(200) - positions[:, None]) > margin
    assert np.abs(matrix[away]).max() < 1e-5
