"""Pixels that stand in for a result that is not computed yet: linear interpolation.

Every pixel of the result is centred where the real one will be: pixel ``i`` of
an axis that is enlarged ``k`` times lies at ``(i + 0.5) / k - 0.5`` in the
source.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from napari_hrsr.lazy.windows import Box, LazyArray, copy_overlap, overlap
from napari_hrsr.pixels import cast_values

_MODE_OF_AXES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def stand_in(
    source: LazyArray,
    boxes: Sequence[Box],
    box: Box,
    pixels: NDArray[Any],
    factor: Sequence[int],
) -> None:
    """Interpolate some boxes of the result into the pixels of another one.

    Parameters
    ----------
    source : LazyArray
        What is enlarged; read once.
    boxes : sequence of tuple of (int, int)
        What is to be filled, in pixels of the result; each meets `box`.
    box : tuple of (int, int)
        Where `pixels` lie in the result.
    pixels : ndarray
        Of the shape of `box`; written where the boxes meet it.
    factor : sequence of int
        As for `source_box`.
    """
    parts = [overlap(part, box) for part in boxes]
    hull = tuple(
        (min(a for a, _ in axis), max(b for _, b in axis)) for axis in zip(*parts, strict=True)
    )
    around = source_box(hull, factor, source.shape)
    near = source.read(around)
    for part in parts:
        within = source_box(part, factor, source.shape)
        cut = tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(within, around, strict=True))
        made = enlarge(near[cut], [a for a, _ in within], part, factor, pixels.dtype)
        copy_overlap(made, part, pixels, box)


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
    grown = [axis for axis, k in enumerate(factor) if k > 1]
    kept = [axis for axis, k in enumerate(factor) if k == 1]
    cut = pixels[
        tuple(
            slice(a - first, b - first) if k == 1 else slice(None)
            for (a, b), first, k in zip(box, start, factor, strict=True)
        )
    ]
    if not grown:
        return cast_values(cut.astype(np.float32), np.dtype(dtype))
    # A few calls on all pixels at once: each call of a thread that is not the only one waits
    # for its turn.
    values = torch.from_numpy(np.transpose(cut, (*kept, *grown)).astype(np.float32, order="C"))
    shape = values.shape[: len(kept)]
    large = functional.interpolate(
        values.reshape(1, -1, *values.shape[len(kept) :]),
        scale_factor=[float(factor[axis]) for axis in grown],
        mode=_MODE_OF_AXES[len(grown)],
        align_corners=False,
    )
    found: NDArray[np.float32] = large.reshape(*shape, *large.shape[2:]).numpy()
    inside = tuple(
        slice(a - k * first, b - k * first)
        for (a, b), first, k in ((box[axis], start[axis], factor[axis]) for axis in grown)
    )
    found = found[(*(slice(None) for _ in kept), *inside)]
    back = np.argsort((*kept, *grown))
    return cast_values(np.transpose(found, back), np.dtype(dtype))


def _left(i: int, k: int) -> int:
    """Return the pixel of the source whose centre lies at or left of pixel `i`'s."""
    return (2 * i + 1 - k) // (2 * k)
