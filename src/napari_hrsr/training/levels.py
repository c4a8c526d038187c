"""Black and white level of an image, measured once, in flat memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from napari_hrsr.errors import InputError
from napari_hrsr.pixels import check_block, needs_every_value
from napari_hrsr.training.views import View

_BOX = 4_000_000
"""Values read at a time."""

_BOXES = 16
"""Boxes read of an image that needs no reading from end to end."""

_LARGEST = 2**31
"""Values up to which every one is looked at where one could be unusable."""

_ROWS = 64


def measure_levels(
    view: View, percentiles: tuple[float, float] = (0.1, 99.9)
) -> tuple[float, float]:
    """Return the values to be mapped to 0 and 1, and check the pixels.

    Images of whole numbers are sampled at evenly spread places. Of
    floating-point images every value is looked at, because a single NaN would
    spoil a whole training; only of enormous ones, again, a sample.

    Parameters
    ----------
    view : View
        Of any shape; colours are measured together.
    percentiles : tuple of float
        Per cent of the pixels at or below black, and at or below white.

    Returns
    -------
    black, white : float
        With black below white.

    Raises
    ------
    InputError
        If a value is NaN, infinite or too large, the image is flat, or it
        cannot be read.
    """
    boxes = list(_boxes(view.shape, view.chunks))
    every = needs_every_value(view.array.dtype) and view.size <= _LARGEST
    if not every and len(boxes) > _BOXES:
        boxes = [boxes[i] for i in np.linspace(0, len(boxes) - 1, _BOXES).astype(int)]
    values, least, most = [], math.inf, -math.inf
    for box in boxes:
        block = view[box]
        check_block(block, box)
        least, most = min(least, float(block.min())), max(most, float(block.max()))
        values.append(_thinned(block, _BOX // len(boxes)))
    if not least < most:
        msg = f"it is flat: every pixel that was looked at is {least:g}"
        raise InputError(msg)
    sample = np.concatenate(values)
    black, white = (float(p) for p in np.percentile(sample, percentiles))
    # A few bright spots on a ground of one value lie beyond the percentile.
    return (black, white) if black < white else (least, most)


def _boxes(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Cut an image into boxes of whole chunks, the last axes first."""
    lengths = [min(n, math.ceil(_ROWS / c) * c) for n, c in zip(shape, chunks, strict=True)]
    for axis in reversed(range(len(shape))):
        others = math.prod(lengths) // lengths[axis]
        room = max(lengths[axis], _BOX // max(1, others))
        chunk = chunks[axis]
        lengths[axis] = min(shape[axis], max(chunk, room // chunk * chunk))
    cuts = [
        [slice(start, min(start + step, n)) for start in range(0, n, step)]
        for n, step in zip(shape, lengths, strict=True)
    ]
    return itertools.product(*cuts)


def _thinned(block: np.ndarray, count: int) -> np.ndarray:
    """Take about `count` evenly spaced values, from every column."""
    flat = block.reshape(-1)
    step = max(1, math.ceil(flat.size / max(1, count)))
    # A step that shared a factor with the width would see some columns only.
    while step > 1 and math.gcd(step, block.shape[-1]) > 1:
        step += 1
    return flat[::step]
