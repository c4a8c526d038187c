"""Smaller levels of an image: the mean of two pixels on each axis."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def blocks(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Cut an array into its chunks."""
    ranges = [
        [slice(i, min(i + c, n)) for i in range(0, n, c)]
        for n, c in zip(shape, chunks, strict=True)
    ]
    return itertools.product(*ranges)


def binned(finer: Any, chunk: tuple[slice, ...], bins: list[int]) -> NDArray[Any]:
    """Mean of `bins` pixels per axis, for one chunk of the coarser level.

    It is put together from parts that come from one chunk of the finer level
    each, so that no more than two chunks are in memory.
    """
    dtype = finer.dtype
    result = np.empty([s.stop - s.start for s in chunk], dtype)
    parts = tuple(max(1, c // k) for c, k in zip(finer.chunks, bins, strict=True))
    for part in blocks(result.shape, parts):
        read = tuple(
            slice((s.start + p.start) * k, min((s.start + p.stop) * k, n))
            for s, p, k, n in zip(chunk, part, bins, finer.shape, strict=True)
        )
        block = np.asarray(finer[read])
        mean: NDArray[Any] = block.astype(np.float64 if dtype.itemsize > 2 else np.float32)
        for axis, k in enumerate(bins):
            if k == 2:
                if mean.shape[axis] % 2:
                    last = np.take(mean, [-1], axis)
                    mean = np.concatenate([mean, last], axis)
                even = [slice(None)] * mean.ndim
                odd = list(even)
                even[axis], odd[axis] = slice(0, None, 2), slice(1, None, 2)
                mean = (mean[tuple(even)] + mean[tuple(odd)]) / 2
        result[part] = mean.astype(dtype) if dtype.kind == "f" else np.rint(mean).astype(dtype)
    return result
