"""Read the tiles of a plan from an image of any kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.axes import Axes
from napari_hrsr.pixels import read_block
from napari_hrsr.tiling import Span, TilePlan


def read_tile(
    source: Any, axes: Axes, loop: Sequence[int], spans: Sequence[Span], plan: TilePlan
) -> NDArray[Any]:
    """Read one tile, mirrored past the far end of the image.

    Parameters
    ----------
    source : array-like
        The image.
    axes : Axes
        The roles of its axes.
    loop : sequence of int
        Index on each axis that is looped over.
    spans : sequence of Span
        The tile.
    plan : TilePlan
        The plan that it belongs to.

    Returns
    -------
    ndarray, shape (samples, *read)
        In the image's data type; one sample for images without colours.

    Raises
    ------
    InputError
        If the image cannot be read.
    """
    key: list[Any] = [slice(None)] * axes.ndim
    for axis, index in zip(axes.looped, loop, strict=True):
        key[axis] = index
    mirrored: list[NDArray[np.intp] | None] = []
    for axis, span, n, padded in zip(axes.spatial, spans, plan.shape, plan.padded, strict=True):
        start, stop, positions = span.read_start, span.read_stop, None
        if stop > n:
            positions = _mirror(n, padded)[start:stop]
            start, stop = int(positions.min()), int(positions.max()) + 1
            positions = positions - start
        key[axis] = slice(start, stop)
        mirrored.append(positions)
    block = read_block(source, tuple(key))
    kept = [axis for axis in range(axes.ndim) if axis not in axes.looped]
    samples_at = None if axes.samples is None else kept.index(axes.samples)
    block = block[None] if samples_at is None else np.moveaxis(block, samples_at, 0)
    for axis, positions in enumerate(mirrored):
        if positions is not None:
            block = np.take(block, positions, axis=1 + axis)
    return block


def _mirror(n: int, padded: int) -> NDArray[np.intp]:
    """Where each pixel of a padded axis is read: reflected, or the last one where it is short."""
    positions, last = np.arange(padded), n - 1
    if padded - 1 > 2 * last:
        return np.minimum(positions, last)
    return np.where(positions > last, 2 * last - positions, positions)
