"""What the runs of a live view read from, and what they write into."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.jobs import Job
from napari_hrsr.lazy.windows import Box
from napari_hrsr.pixels import check_block, read_block


class TileSink:
    """Takes the tiles that a run writes until somebody fetches them.

    Parameters
    ----------
    job : Job
        The run.
    """

    def __init__(self, job: Job) -> None:
        self.shape, self.dtype = job.shape, job.dtype
        self._written: dict[Hashable, NDArray[Any]] = {}

    def __setitem__(self, key: tuple[slice | int, ...], values: NDArray[Any]) -> None:
        starts = tuple(k.start if isinstance(k, slice) else k for k in key)
        looped = tuple(axis for axis, k in enumerate(key) if not isinstance(k, slice))
        self._written[starts] = np.ascontiguousarray(np.expand_dims(values, looped))

    def take(self, region: Box) -> NDArray[Any]:
        """Return the pixels of a tile, which are kept no longer."""
        return self._written.pop(tuple(a for a, _ in region))


class CheckedSource:
    """A source whose values are checked where they are read.

    Parameters
    ----------
    source : array-like
        What is read.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self.shape, self.dtype, self.ndim = source.shape, source.dtype, len(source.shape)

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        block = read_block(self._source, key)
        check_block(block, key)
        return block
