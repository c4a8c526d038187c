"""Bicubic resizing by whole factors as MATLAB's ``imresize`` does it.

The published tables of super-resolution are made with it. It differs from
most libraries in three ways that change the second decimal of a PSNR: the
kernel is that of Keys (1981) with a = -0.5, it is stretched by the factor
when an image shrinks (antialiasing), and beyond its border an image is
continued by its mirror image.
"""

from __future__ import annotations

import numpy as np

from napari_hrsr.forward import keys_cubic

_SUPPORT = 2
"""The kernel ends this many of its pixels from the centre."""


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Shrink an image along its first two axes, as ``imresize(image, 1/factor)``.

    Parameters
    ----------
    image : ndarray
        Shape (Y, X, ...), real. Y and X need not be multiples of the factor:
        what is left over makes one more pixel.
    factor : int
        Pixels of the image in one of the result, 1 or more.

    Returns
    -------
    ndarray
        Shape (ceil(Y / factor), ceil(X / factor), ...), float64, not rounded.
    """
    for axis in (0, 1):
        length = -(-image.shape[axis] // factor)
        image = _resample(image, axis, length, step=float(factor), stretch=float(factor))
    return image


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Enlarge an image along its first two axes, as ``imresize(image, factor)``.

    Parameters
    ----------
    image : ndarray
        Shape (Y, X, ...), real.
    factor : int
        Pixels of the result in one of the image, 1 or more.

    Returns
    -------
    ndarray
        Shape (Y * factor, X * factor, ...), float64, not rounded.
    """
    for axis in (0, 1):
        image = _resample(image, axis, image.shape[axis] * factor, step=1 / factor, stretch=1.0)
    return image


def _resample(
    image: np.ndarray, axis: int, length: int, *, step: float, stretch: float
) -> np.ndarray:
    """Weight the pixels of an axis: result pixels are `step` apart, the kernel `stretch` wide."""
    positions = (np.arange(length) + 0.5) * step - 0.5
    reach = _SUPPORT * stretch
    first = np.floor(positions - reach).astype(int)
    taps = first[:, None] + np.arange(int(np.ceil(2 * reach)) + 2)
    weights = keys_cubic((taps - positions[:, None]) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((length, image.shape[axis]))
    rows = np.broadcast_to(np.arange(length)[:, None], taps.shape)
    np.add.at(matrix, (rows, _mirrored(taps, image.shape[axis])), weights)
    moved = np.moveaxis(image.astype(np.float64), axis, 0)
    return np.moveaxis(np.tensordot(matrix, moved, axes=1), 0, axis)


def _mirrored(index: np.ndarray, length: int) -> np.ndarray:
    """Fold positions beyond the border back into the image; the edge pixel comes twice."""
    index = np.mod(index, 2 * length)
    return np.minimum(index, 2 * length - 1 - index)
