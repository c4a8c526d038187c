"""The best linear filter: what resolution a fixed formula can win back."""

from __future__ import annotations

import math

import numpy as np

_SAMPLE = 4000
_RIDGE = 1e-6


class LinearFilter:
    """The best linear filter of a size for each output phase, by least squares.

    Each fine pixel is its coarse pixel plus a weighted sum of how the
    neighbours differ from it, so a constant stays what it is.

    Parameters
    ----------
    factor : tuple of int
        Fine pixels in a coarse one, per axis.
    radius : int
        Coarse pixels read on each side: the filter has 2 * radius + 1 an axis.
    """

    def __init__(self, factor: tuple[int, ...], radius: int) -> None:
        self.factor, self.radius = factor, radius
        taps, phases = (2 * radius + 1) ** len(factor), math.prod(factor)
        self._xx, self._xy = np.zeros((taps, taps)), np.zeros((taps, phases))

    def add(self, coarse: np.ndarray, fine: np.ndarray, rng: np.random.Generator) -> None:
        """Add up to 4000 random pixels of an image to the normal equations.

        Parameters
        ----------
        coarse : ndarray
            Shape (*spatial), floating point.
        fine : ndarray
            Shape (*(spatial * factor)), the truth in the same units.
        rng : numpy.random.Generator
            Chooses the pixels.
        """
        chosen = rng.choice(coarse.size, min(_SAMPLE, coarse.size), replace=False)
        ndim = len(self.factor)
        pairs = zip(coarse.shape, self.factor, strict=True)
        blocks = fine.reshape([n for pair in pairs for n in pair])
        order = [*range(0, 2 * ndim, 2), *range(1, 2 * ndim, 2)]
        y = blocks.transpose(order).reshape(coarse.size, -1)[chosen]
        middle = coarse.ravel()[chosen, None]
        x = self._rows(coarse)[chosen].astype(np.float64) - middle
        self._xx += x.T @ x
        self._xy += x.T @ (y - middle)

    def fit(self) -> None:
        """Solve the normal equations of all images added so far."""
        ridge = _RIDGE * np.trace(self._xx) / len(self._xx) * np.eye(len(self._xx))
        self._filter = np.linalg.solve(self._xx + ridge, self._xy).astype(np.float32)

    def __call__(self, coarse: np.ndarray) -> np.ndarray:
        """Upscale an image; `fit` comes first.

        Parameters
        ----------
        coarse : ndarray
            Shape (*spatial), floating point.

        Returns
        -------
        ndarray
            Shape (*(spatial * factor)), in the same units.
        """
        ndim = len(self.factor)
        middle = coarse.reshape(-1, 1)
        y = (self._rows(coarse) - middle) @ self._filter + middle
        blocks = y.reshape(*coarse.shape, *self.factor)
        order = [a for axis in range(ndim) for a in (axis, ndim + axis)]
        shape = [n * k for n, k in zip(coarse.shape, self.factor, strict=True)]
        return blocks.transpose(order).reshape(shape)

    def _rows(self, coarse: np.ndarray) -> np.ndarray:
        """Return each pixel's neighbourhood as a row."""
        side = 2 * self.radius + 1
        padded = np.pad(coarse, self.radius, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side,) * len(self.factor))
        return windows.reshape(coarse.size, -1)
