"""How a frame is turned or stretched against the reference, from two images alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from napari_hrsr.frames.motions import Motion

Floats = NDArray[np.float64]

TRANSFORMS = ("translation", "rigid", "affine")

BLURS = (6.0, 3.0, 1.5)
"""Frames are compared blurred first, so that a large turn still overlaps."""

STEPS = 8


def turn_pair(reference: Floats, frame: Floats, motion: Motion, transform: str) -> Motion:
    """Find a rotation or an affine map, beginning with a translation.

    Steps of Gauss and Newton on the frame as it lies by now (Lucas and Kanade
    1981), from coarse to fine. Turns of up to some five degrees are found.

    Parameters
    ----------
    reference, frame : ndarray
        Of one shape.
    motion : Motion
        Where to begin.
    transform : {"rigid", "affine"}
        What to find.
    """
    places = np.stack(np.meshgrid(*map(np.arange, reference.shape), indexing="ij"), -1)
    away = places - motion.centre
    for blur in BLURS:
        one, two = gaussian_filter(reference, blur), gaussian_filter(frame, blur)
        for _ in range(STEPS):
            at = np.moveaxis(motion.to_frame(places), -1, 0)
            seen = map_coordinates(two, at, order=1, mode="constant", cval=np.nan)
            slopes = np.gradient(seen)
            good = np.isfinite(seen) & np.isfinite(np.sum(slopes, axis=0))
            if good.sum() < 100:
                return motion
            columns = [*slopes, *turned_columns(slopes, away, transform)]
            matrix = np.stack([c[good] for c in columns], 1)
            rest = (one - seen)[good]
            matrix, rest = matrix - matrix.mean(0), rest - rest.mean()
            motion = stepped(motion, np.linalg.lstsq(matrix, rest, rcond=None)[0], transform)
    return motion


def turned_columns(
    slopes: list[Floats] | tuple[Floats, ...], away: Floats, transform: str
) -> list[Floats]:
    """Return how an image changes with the parameters of the matrix of its motion.

    Parameters
    ----------
    slopes : sequence of ndarray
        Change of the image with the shift, one an axis.
    away : ndarray, shape (*image, axes)
        Places less the centre.
    transform : str
        One of `TRANSFORMS`.
    """
    axes = range(len(slopes))
    columns = []
    for mode in modes(transform, len(slopes)):
        parts = [slopes[a] * away[..., b] * mode[a, b] for a in axes for b in axes if mode[a, b]]
        columns.append(np.sum(parts, axis=0))
    return columns


def stepped(motion: Motion, step: Floats, transform: str, largest: float = np.inf) -> Motion:
    """Return a motion that is changed a little.

    Parameters
    ----------
    motion : Motion
        Before.
    step : ndarray
        Change of the shift, then of the parameters of the matrix; see `modes`.
    transform : str
        One of `TRANSFORMS`; a rigid motion stays one.
    largest : float
        Pixels by which the shift may change.
    """
    n = len(motion.shift)
    linear = motion.matrix.copy()
    for size, mode in zip(step[n:], modes(transform, n), strict=True):
        linear += size * mode
    if transform == "rigid":
        left, _, right = np.linalg.svd(linear)
        linear = left @ right
    return Motion(motion.shift + np.clip(step[:n], -largest, largest), linear, motion.centre)


def modes(transform: str, ndim: int) -> list[Floats]:
    """Return the matrices that a motion's own may be changed by.

    Parameters
    ----------
    transform : str
        One of `TRANSFORMS`.
    ndim : int
        Number of axes.
    """
    found: list[Floats] = []
    for a in range(ndim):
        for b in range(ndim):
            one = np.zeros((ndim, ndim))
            one[a, b] = 1
            if transform == "affine":
                found.append(one)
            elif transform == "rigid" and a < b:
                found.append(one - one.T)
    return found
