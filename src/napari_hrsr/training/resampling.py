"""Making a window of an image smaller, or moving it by a part of a pixel, while it is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from napari_hrsr.forward import keys_cubic

_SINC_RADIUS = 6
"""Fine pixels on each side of the windowed sine that moves an image."""

Read = Callable[[tuple[slice, ...]], np.ndarray]


def reduced_length(length: int, ratio: float) -> int:
    """Return how many pixels are left of `length` when each stands for `ratio` of them."""
    return int(length / ratio + 1e-9)


def read_reduced(
    read: Read, shape: Sequence[int], window: Sequence[slice], ratio: float
) -> np.ndarray:
    """Read a window of an image that is made smaller.

    A whole ratio averages over blocks. Any other weighs the pixels with Keys'
    cubic kernel, stretched by the ratio, so that nothing too fine for the new
    grid is left to alias. The first outer edges of both grids coincide.

    Parameters
    ----------
    read : callable
        Reads a window of the image as it is, shape (..., *spatial).
    shape : sequence of int
        Spatial shape of the image as it is.
    window : sequence of slice
        In pixels of the smaller image, within it.
    ratio : float
        Pixels of the image as it is in one of the smaller one, per axis; at least 1.

    Returns
    -------
    ndarray
        Shape (..., *window), float32.
    """
    if ratio == 1:
        return read(tuple(window)).astype(np.float32)
    if ratio == int(ratio):
        factor = int(ratio)
        block = read(tuple(slice(w.start * factor, w.stop * factor) for w in window))
        return average_blocks(block, (factor,) * len(window))
    ranges, weights = [], []
    for length, part in zip(shape, window, strict=True):
        source, matrix = _reducing_matrix(length, part, ratio)
        ranges.append(source)
        weights.append(matrix)
    return apply_matrices(read(tuple(ranges)), weights)


def average_blocks(image: np.ndarray, factor: Sequence[int]) -> np.ndarray:
    """Average over blocks of pixels.

    Parameters
    ----------
    image : ndarray
        Shape (..., *spatial); pixels beyond the last whole block are dropped.
    factor : sequence of int
        Side of a block per spatial axis.

    Returns
    -------
    ndarray
        Shape (..., *(spatial // factor)), float32.
    """
    lead = image.ndim - len(factor)
    image = image.astype(np.float32)
    for axis, k in enumerate(factor, start=lead):
        if k == 1:
            continue
        count = image.shape[axis] // k
        split = (*image.shape[:axis], count, k, *image.shape[axis + 1 :])
        kept = image[(slice(None),) * axis + (slice(0, count * k),)]
        image = kept.reshape(split).mean(axis=axis + 1, dtype=np.float32)
    return image


def shift_taps(fraction: float) -> tuple[np.ndarray, int]:
    """Return the weights that read an image at a part of a pixel further on.

    A sine cardinal under Lanczos' window: it keeps detail that a cubic would blur.

    Parameters
    ----------
    fraction : float
        From 0 to below 1, in pixels.

    Returns
    -------
    taps : ndarray
        Weights of neighbouring pixels; they add up to one.
    first : int
        Position of the first against the pixel read.
    """
    if fraction == 0:
        return np.ones(1), 0
    first = 1 - _SINC_RADIUS
    distance = np.arange(first, _SINC_RADIUS + 1) - fraction
    taps = np.sinc(distance) * np.sinc(distance / _SINC_RADIUS)
    return taps / taps.sum(), first


def shifting_matrix(
    length: int, start: int, count: int, fraction: float
) -> tuple[slice, np.ndarray]:
    """Return which pixels to read, and the weights that move them.

    Parameters
    ----------
    length : int
        Pixels of the image; beyond its border the edge pixel goes on.
    start, count : int
        Window of the moved image.
    fraction : float
        Part of a pixel further on, from 0 to below 1.

    Returns
    -------
    source : slice
        Pixels to read.
    matrix : ndarray
        Shape (count, pixels read), float32.
    """
    taps, first = shift_taps(fraction)
    positions = start + np.arange(count)[:, None] + first + np.arange(len(taps))
    return _matrix(positions, np.broadcast_to(taps, positions.shape), length)


def apply_matrices(image: np.ndarray, matrices: Sequence[np.ndarray | None]) -> np.ndarray:
    """Multiply each of the last axes by a matrix.

    Parameters
    ----------
    image : ndarray
        Shape (..., *spatial).
    matrices : sequence of ndarray
        One of shape (new, old) per spatial axis, None to leave an axis as it is.

    Returns
    -------
    ndarray
        Shape (..., *new), float32.
    """
    image = image.astype(np.float32, copy=False)
    lead = image.ndim - len(matrices)
    for axis, matrix in enumerate(matrices, start=lead):
        if matrix is not None:
            image = np.moveaxis(np.tensordot(matrix, image, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(image)


def _reducing_matrix(length: int, part: slice, ratio: float) -> tuple[slice, np.ndarray]:
    centres = (np.arange(part.start, part.stop) + 0.5) * ratio - 0.5
    reach = math.ceil(2 * ratio)
    positions = np.floor(centres).astype(int)[:, None] + np.arange(1 - reach, reach + 1)
    weights = keys_cubic((positions - centres[:, None]) / ratio)
    return _matrix(positions, weights / weights.sum(1, keepdims=True), length)


def _matrix(positions: np.ndarray, weights: np.ndarray, length: int) -> tuple[slice, np.ndarray]:
    """Spread weights over the pixels they belong to; the border goes on beyond itself."""
    positions = np.clip(positions, 0, length - 1)
    start, stop = int(positions.min()), int(positions.max()) + 1
    matrix = np.zeros((len(positions), stop - start), np.float32)
    rows = np.broadcast_to(np.arange(len(positions))[:, None], positions.shape)
    np.add.at(matrix, (rows, positions - start), weights)
    return slice(start, stop), matrix
