"""From the grid of a network to any other grid, tile by tile.

Networks have whole factors. What the result's voxels should be is often no
whole part of the source's: `Regrid` is what the engine asks for the step that
follows the network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from napari_hrsr.forward import keys_cubic

Interval = tuple[int, int]

_ROUNDING = 1e-6
"""Pixels by which floating-point numbers may miss a border."""

_ANTIALIASED = 1.01
"""Pixels that are wider than the finest detail by this factor are averages."""


@runtime_checkable
class Regrid(Protocol):
    """A step after the network, computed tile by tile.

    It must not depend on how the image is cut into tiles.
    """

    @property
    def factor(self) -> tuple[float, ...]:
        """Pixels of the result in one of the source, per spatial axis."""

    @property
    def margin(self) -> tuple[int, ...]:
        """Source pixels around a tile's body that it needs, per spatial axis."""

    def at(self, index: Sequence[int]) -> Regrid:
        """Return the step for an index along the looped axes."""

    def __call__(
        self,
        upscaled: NDArray[np.float32],
        measured: NDArray[np.float32],
        window: Sequence[Interval],
        body: Sequence[Interval],
    ) -> NDArray[np.float32]:
        """Compute the result's pixels in a body.

        Parameters
        ----------
        upscaled : ndarray, shape (n, *(window * scale))
            What the network made.
        measured : ndarray, shape (n, *window)
            The source, in the same units.
        window, body : sequence of (int, int)
            First and one past the last source pixel of the arrays, and of what
            is wanted, per axis.

        Returns
        -------
        ndarray, shape (n, *body), in pixels of the result; see `result_bounds`
        """


def result_length(length: int, factor: float) -> int:
    """Return how many pixels of the result cover an axis of the source.

    Parameters
    ----------
    length : int
        Of the axis, in source pixels.
    factor : float
        Pixels of the result in one of the source.
    """
    return max(1, math.ceil(length * factor - _ROUNDING))


def result_bounds(start: int, stop: int, length: int, factor: float) -> Interval:
    """Return which pixels of the result have their centres in an interval of the source.

    Neighbouring intervals give neighbouring pixels, none twice.

    Parameters
    ----------
    start, stop : int
        The interval, in source pixels.
    length : int
        Of the whole axis.
    factor : float
        Pixels of the result in one of the source.
    """

    def first(edge: int) -> int:
        return max(0, math.ceil(edge * factor - 0.5 - _ROUNDING))

    # The last pixel covers the end of the axis, even where its centre lies beyond.
    return first(start), result_length(length, factor) if stop == length else first(stop)


def resampling_matrix(
    old: int, new: int, *, step: float, offset: float, detail: float = 1.0
) -> NDArray[np.float64]:
    """Return the operator that reads a line of pixels at other places.

    Finer or equal pixels are read off the cubic B-spline through the old ones
    (Unser, Splines: a perfect fit for signal and image processing, 1999);
    wider ones are averaged with Keys' kernel, stretched, so that nothing is
    aliased.

    Parameters
    ----------
    old, new : int
        Number of pixels.
    step : float
        Width of a new pixel, in old ones.
    offset : float
        Position of the first new pixel's centre; old centres lie at 0, 1, ...
    detail : float
        Width of the finest pixels, in old ones, whose detail the line holds:
        above 1 where it was made on a finer grid than it needs.

    Returns
    -------
    ndarray, shape (new, old)
        Rows add up to one.
    """
    positions = offset + step * np.arange(new)
    on_grid = np.abs(positions - np.round(positions)).max(initial=0.0) < _ROUNDING
    if abs(step - 1) < _ROUNDING and on_grid:
        taken = np.clip(np.round(positions).astype(int), 0, old - 1)
        return np.asarray(np.eye(old)[taken])
    if step > _ANTIALIASED * detail:
        weights = keys_cubic((np.arange(old) - positions[:, None]) / step)
        weights[weights.sum(1) <= 0] = 1.0
        return np.asarray(weights / weights.sum(1, keepdims=True))
    if old == 1:
        return np.ones((new, 1))
    spline = make_interp_spline(np.arange(old), np.eye(old), k=min(3, old - 1))
    return np.asarray(spline(np.clip(positions, 0, old - 1)))


def resampling_margin(step: float, detail: float = 1.0) -> int:
    """Return how many old pixels around a new one `resampling_matrix` depends on.

    Parameters
    ----------
    step, detail : float
        As for `resampling_matrix`.
    """
    if step > _ANTIALIASED * detail:
        return math.ceil(2 * step) + 1
    # A B-spline's coefficients fade by 0.27 from pixel to pixel.
    return 10
