"""Pixels that stand in for a result that is not computed yet: linear interpolation.

Every pixel of the result is centred where the real one will be: pixel ``i`` of
an axis that is enlarged ``k`` times lies at ``(i + 0.5) / k - 0.5`` in the
source.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.lazy.windows import Box
from napari_hrsr.pixels import cast_values


def source_box(box: Box, factor: Sequence[int], shape: Sequence[int]) -> Box:
    """Return the pixels of the source that a box of the result is interpolated from.

    Parameters
    ----------
    box : tuple of (int, int)
        First and one past the last pixel of the result, per axis.
    factor : sequence of int
        Pixels of the result in one of the source, per axis; 1 where the axis
        is not enlarged.
    shape : sequence of int
        Of the source.
    """
    return tuple(
        (a, b) if k == 1 else (max(0, _left(a, k)), min(n, _left(b - 1, k) + 2))
        for (a, b), k, n in zip(box, factor, shape, strict=True)
    )


def enlarge(
    pixels: NDArray[Any], start: Sequence[int], box: Box, factor: Sequence[int], dtype: Any
) -> NDArray[Any]:
    """Interpolate a box of the result; the image is continued by its edge pixels.

    Parameters
    ----------
    pixels : ndarray
        Of the source, at least `source_box`.
    start : sequence of int
        Where its first pixel lies in the source.
    box : tuple of (int, int)
        What is wanted, in pixels of the result.
    factor : sequence of int
        As for `source_box`.
    dtype : numpy.dtype
        Of the result; values are rounded and clipped.

    Returns
    -------
    ndarray
        Of the shape of the box.
    """
    values: NDArray[np.float32] = pixels.astype(np.float32)
    # The axis that grows most comes last, so that the others are worked on while it is small.
    for axis in sorted(range(values.ndim), key=lambda a: factor[a]):
        k, (a, b), first = factor[axis], box[axis], start[axis]
        if k == 1:
            values = values.take(range(a - first, b - first), axis=axis)
            continue
        at = (np.arange(a, b) + 0.5) / k - 0.5 - first
        left = np.floor(at).astype(np.intp)
        share = (at - left).astype(np.float32).reshape(-1, *(1,) * (values.ndim - axis - 1))
        low = values.take(left, axis=axis, mode="clip")
        high = values.take(left + 1, axis=axis, mode="clip")
        with np.errstate(invalid="ignore", over="ignore"):
            high -= low
            high *= share
            high += low
        values = high
    return cast_values(values, np.dtype(dtype))


def _left(i: int, k: int) -> int:
    """Return the pixel of the source whose centre lies at or left of pixel `i`'s."""
    return (2 * i + 1 - k) // (2 * k)
