"""How frames lie on the reference frame.

Frame ``k`` shows at ``x + shift_k`` what the reference shows at ``x``, in
pixels of the frames::

    reference   0   1   2   3   4   5        a thing at x = 2
                        #
    frame k     0   1   2   3   4   5        is at x + shift = 2.5
                          #                  where shift = +0.5

A turned or stretched frame shows it at ``x + shift + (M - 1)(x - centre)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

STILL = 1e-9
"""Entries of a matrix smaller than this are rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """Where a frame shows what the reference shows.

    Attributes
    ----------
    shift : ndarray, shape (axes,)
        In pixels of the frames, at `centre`.
    matrix : ndarray, shape (axes, axes)
        The identity for a translation.
    centre : ndarray, shape (axes,)
        What the matrix turns about, in pixels of the reference.
    """

    shift: Floats
    matrix: Floats
    centre: Floats

    @property
    def is_translation(self) -> bool:
        """Whether nothing is turned or stretched."""
        return bool(np.abs(self.matrix - np.eye(len(self.shift))).max() < STILL)

    def to_frame(self, places: ArrayLike) -> Floats:
        """Return where the frame shows places of the reference, shape (..., axes)."""
        x = np.asarray(places, float)
        moved: Floats = x + self.shift + (x - self.centre) @ (self.matrix - np.eye(x.shape[-1])).T
        return moved

    def to_reference(self, places: ArrayLike) -> Floats:
        """Return the places of the reference that the frame shows at its own, shape (..., axes)."""
        y = np.asarray(places, float)
        inverse = np.linalg.inv(self.matrix)
        moved: Floats = (y - self.shift - self.centre) @ inverse.T + self.centre
        return moved


def translation(shift: Sequence[float] | Floats) -> Motion:
    """Return the motion of a frame that is only moved.

    Parameters
    ----------
    shift : sequence of float
        In pixels, per axis.
    """
    n = len(shift)
    return Motion(np.asarray(shift, float), np.eye(n), np.zeros(n))


def about_centre(matrix: Floats, shape: Sequence[int]) -> Motion:
    """Return a motion that is given as one homogeneous matrix.

    Parameters
    ----------
    matrix : ndarray, shape (axes + 1, axes + 1)
        Takes homogeneous pixel coordinates of the reference to those of the frame.
    shape : sequence of int
        Of the frames; the shift is stated at their centre.
    """
    centre = (np.array(shape, float) - 1) / 2
    linear = np.asarray(matrix, float)[:-1, :-1]
    shift = linear @ centre + np.asarray(matrix, float)[:-1, -1] - centre
    return Motion(shift, linear, centre)
