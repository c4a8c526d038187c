"""The simple ways: average, shift-and-add, drizzle."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from napari_hrsr.frames.motions import Motion
from napari_hrsr.regridding import resampling_matrix

Floats = NDArray[np.float32]

DROP = 0.7
"""Side of drizzle's drops over that of a pixel (Fruchter and Hook's ``pixfrac``)."""

EDGE = 0.55
"""Pixels beyond the centre of a frame's last pixel to which it is trusted."""


def average(
    values: Floats,
    inside: Floats,
    motions: Sequence[Motion],
    start: Sequence[int],
    offsets: NDArray[np.int64],
    factor: Sequence[int],
) -> Floats:
    """Interpolate every frame on the fine grid, and average.

    Parameters
    ----------
    values, inside : ndarray, shape (frames, *window)
        What the frames show, and where they show something.
    motions : sequence of Motion
        Of the frames.
    start : sequence of int
        First pixel of the window in the reference.
    offsets : ndarray, shape (frames, axes)
        First pixels of the windows of the frames less `start`.
    factor : sequence of int
        Fine pixels in a pixel.

    Returns
    -------
    ndarray, shape (window * factor)
    """
    total: NDArray[np.float64] | float = 0.0
    weight: NDArray[np.float64] | float = 1e-6
    for frame, mask, motion, offset in zip(values, inside, motions, offsets, strict=True):
        level = float(frame[mask > 0].mean()) if mask.any() else 0.0
        filled = _filled(frame, mask, level)
        if motion.is_translation:
            moved = motion.shift - offset
            seen = _separable(filled, moved, factor, spline=True)
            trust = _separable(mask, moved, factor, spline=False)
        else:
            places = _fine_places(frame.shape, factor, start)
            at = np.moveaxis(motion.to_frame(places) - np.array(start) - offset, -1, 0)
            seen = map_coordinates(filled, at, order=3, mode="nearest")
            trust = map_coordinates(mask, at, order=0, mode="constant")
        trust = np.maximum(trust, 1e-6)
        total = total + trust * seen
        weight = weight + trust
    return np.asarray(total / weight, np.float32)


def deposit(
    values: Floats,
    inside: Floats,
    motions: Sequence[Motion],
    start: Sequence[int],
    offsets: NDArray[np.int64],
    factor: Sequence[int],
    drop: float,
) -> Floats:
    """Lay the pixels of all frames on the fine grid, and average where they meet.

    Drizzle (Fruchter and Hook 2002) with drops of a part of a pixel; with drops
    of no size each pixel goes to the nearest fine one: shift-and-add (Elad and
    Hel-Or 2001). Fine pixels that nothing reached are taken from `average`.

    Parameters
    ----------
    values, inside, motions, start, offsets, factor
        As for `average`.
    drop : float
        Side of a drop over that of a pixel; 0 for points.
    """
    steps = np.array(factor)
    shape = values.shape[1:]
    fine = np.array(shape) * steps
    total, weight = np.zeros(int(fine.prod())), np.zeros(int(fine.prod()))
    pixels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    half = drop * steps / 2
    reach = [range(int(np.ceil(2 * h)) + 1 if drop else 1) for h in half]
    for frame, mask, motion, offset in zip(values, inside, motions, offsets, strict=True):
        kept = mask > 0
        seen = motion.to_reference(pixels[kept] + np.array(start) + offset) - np.array(start)
        centre = (seen + 0.5) * steps - 0.5
        first = np.floor(centre - half + 0.5).astype(int)
        for taps in itertools.product(*reach):
            at = first + np.array(taps)
            if drop:
                low = np.maximum(at - 0.5, centre - half)
                high = np.minimum(at + 0.5, centre + half)
                share = np.clip(high - low, 0, None).prod(-1)
            else:
                share = np.ones(len(at))
            good = ((at >= 0) & (at < fine)).all(-1) & (share > 0)
            flat = np.ravel_multi_index(tuple(at[good].T), tuple(fine))
            total += np.bincount(flat, share[good] * frame[kept][good], len(total))
            weight += np.bincount(flat, share[good], len(weight))
    smooth = average(values, inside, motions, start, offsets, factor).ravel()
    found = weight > 1e-3
    return (
        np.where(found, total / np.maximum(weight, 1e-3), smooth).reshape(fine).astype(np.float32)
    )


def _filled(frame: Floats, mask: Floats, level: float) -> Floats:
    """Continue a frame by its edge pixels where it was read beyond its border."""
    if mask.all() or not mask.any():
        return frame if mask.any() else np.full_like(frame, level)
    corners = [
        np.flatnonzero(mask.any(tuple(b for b in range(mask.ndim) if b != a)))
        for a in range(mask.ndim)
    ]
    grid = np.ix_(
        *[np.clip(np.arange(n), c[0], c[-1]) for n, c in zip(frame.shape, corners, strict=True)]
    )
    return np.asarray(frame[grid])


def _separable(
    image: Floats, shift: NDArray[np.float64], factor: Sequence[int], *, spline: bool
) -> NDArray[np.float64]:
    """Read an image at every fine pixel, moved by a shift; its nearest pixels without `spline`."""
    result: NDArray[np.float64] = image.astype(np.float64)
    for axis, (n, k, s) in enumerate(zip(image.shape, factor, shift, strict=True)):
        first = (1 / k - 1) / 2 + s
        if spline:
            matrix = resampling_matrix(n, n * k, step=1 / k, offset=first)
            result = np.moveaxis(np.tensordot(matrix, result, (1, axis)), 0, axis)
        else:
            places = first + np.arange(n * k) / k
            # A fine pixel at the outer edge of a frame is still its own.
            near = np.clip(np.floor(places + 0.5), 0, n - 1).astype(int)
            result = result.take(near, axis)
            apart = np.abs(places - near) > EDGE
            result[(slice(None),) * axis + (apart,)] = 0
    return result


def _fine_places(
    shape: Sequence[int], factor: Sequence[int], start: Sequence[int]
) -> NDArray[np.float64]:
    """Return where the fine pixels of a window lie in the reference, shape (*fine, axes)."""
    lines = [
        (np.arange(n * k) + 0.5) / k - 0.5 + s for n, k, s in zip(shape, factor, start, strict=True)
    ]
    return np.stack(np.meshgrid(*lines, indexing="ij"), -1)
