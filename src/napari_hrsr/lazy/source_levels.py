"""The source as the coarse levels of a live view; no read of a file holds a viewer up.

Arrays in memory are sliced as they are. Of all others, blocks are read by a
thread and kept within a bound; until a block is there, its pixels are black.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.axes import Axes
from napari_hrsr.errors import HrsrError
from napari_hrsr.lazy.pixel_cache import PixelCache
from napari_hrsr.lazy.windows import Box, LazyArray, copy_overlap
from napari_hrsr.pixels import cast_values, read_block

logger = logging.getLogger(__name__)

_SIDE, _REACH = 512, 4096
_BLOCK = 2**21
_PAUSE = 0.2
_SHARE = 3
_PATIENCE = 0.1

Key = tuple["SourceLevel", tuple[int, ...]]


def in_memory(source: Any) -> bool:
    """Tell whether pixels can be had without waiting for a disk or a computation."""
    return isinstance(source, np.ndarray) and not isinstance(source, np.memmap)


class BlockReader:
    """A thread that reads the blocks that were asked for last, first.

    Parameters
    ----------
    cache : PixelCache
        Where they go.
    changed : callable
        Called in the thread when a block is there.
    failed : callable
        Called in the thread with what is wrong, once.
    calm : callable
        Asked whether there is time for what nobody waits for.

    Attributes
    ----------
    arrived : int
        How many blocks have been read.
    seen : int
        How many of them there were when somebody last looked.
    """

    def __init__(
        self,
        cache: PixelCache,
        changed: Callable[[], None],
        failed: Callable[[str], None],
        calm: Callable[[], bool],
    ) -> None:
        self.cache = cache
        self.arrived = self.seen = 0
        self._calm = calm
        self._changed, self._failed = changed, failed
        self._told = self._closed = False
        self._wanted: dict[SourceLevel, list[Key]] = {}
        self._filling: deque[tuple[Key, NDArray[Any]]] = deque()
        self._unreadable: set[Key] = set()
        self._busy = False
        self._state = threading.Condition()
        self._thread: threading.Thread | None = None

    def want(self, level: SourceLevel, blocks: Sequence[tuple[int, ...]]) -> None:
        """Ask for blocks of a level, instead of those that were asked for before."""
        with self._state:
            keys = [(level, block) for block in blocks]
            self._wanted.pop(level, None)
            self._wanted[level] = [key for key in keys if key not in self._unreadable]
            if self._wanted[level]:
                self._wake()

    def fill(
        self, level: SourceLevel, blocks: Sequence[tuple[int, ...]], target: NDArray[Any]
    ) -> None:
        """Write blocks of a level into an array of its shape, when there is time."""
        with self._state:
            self._filling.extend(((level, block), target) for block in blocks)
            self._wake()

    def _wake(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(
                target=self._read_all, name="hrsr-live-source", daemon=True
            )
            self._thread.start()
        self._state.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to be read; return whether that is so."""
        with self._state:
            return self._state.wait_for(
                lambda: (
                    self._closed or not (self._busy or self._filling or any(self._wanted.values()))
                ),
                timeout,
            )

    def wait_for(self, level: SourceLevel, timeout: float) -> None:
        """Wait until the blocks that were asked for of a level are there, or a time is over."""
        with self._state:
            self._state.wait_for(
                lambda: self._closed or not (self._wanted.get(level) or self._busy), timeout
            )

    def close(self) -> None:
        """Read no more; does not wait for what is being read."""
        with self._state:
            self._closed = True
            self._wanted.clear()
            self._filling.clear()
            self._state.notify_all()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _read_all(self) -> None:
        while (step := self._next()) is not None:
            (level, block), target = step
            try:
                pixels = level.load(block)
            except Exception as error:
                self._give_up((level, block), error)
            else:
                if target is not None:
                    level.place(pixels, block, target)
                elif not self._closed:
                    self.cache.put((level, block), pixels)
                self.arrived += 1
                self._changed()
            with self._state:
                self._busy = False
                self._state.notify_all()

    def _next(self) -> tuple[Key, NDArray[Any] | None] | None:
        with self._state:
            while not self._closed:
                newest = next((keys for keys in reversed(self._wanted.values()) if keys), None)
                if newest is not None:
                    self._busy = True
                    return newest.pop(0), None
                if self._filling and self._calm():
                    self._busy = True
                    return self._filling.popleft()
                self._state.wait(_PAUSE if self._filling else None)
            return None

    def _give_up(self, key: Key, error: Exception) -> None:
        self._unreadable.add(key)
        if not isinstance(error, HrsrError):
            logger.exception("a part of the source cannot be read")
        if not self._told and not self._closed:
            self._told = True
            self._failed(str(error))


class SourceLevel(LazyArray):
    """A level of the source, or every few pixels of one.

    Parameters
    ----------
    source : array-like
        What is read.
    step : sequence of int
        Take one pixel in so many, per axis: the middle one.
    axes : Axes
        The roles of its axes.
    dtype : numpy.dtype
        Of the pixels that are given.
    reader : BlockReader
        Reads it, unless it is in memory.
    """

    def __init__(
        self, source: Any, step: Sequence[int], axes: Axes, dtype: Any, reader: BlockReader
    ) -> None:
        super().__init__(
            [(n - k // 2 + k - 1) // k for n, k in zip(source.shape, step, strict=True)], dtype
        )
        self._source, self._step, self._reader = source, tuple(step), reader
        self._direct = in_memory(source)
        self._block = _block_shape(source, self.shape, self._step, axes)

    def read(self, box: Box) -> NDArray[Any]:
        """Return pixels; of blocks that are not there yet, zeros."""
        if self._at_once(box):
            return self._fetch(box)
        self.want(box)
        self._reader.seen = self._reader.arrived
        found = np.zeros([b - a for a, b in box], self.dtype)
        for block in self._blocks(box):
            pixels = self._reader.cache.get((self, block))
            if pixels is None:
                continue
            starts = (i * n for i, n in zip(block, self._block, strict=True))
            at = tuple((s, s + n) for s, n in zip(starts, pixels.shape, strict=True))
            copy_overlap(pixels, at, found, box)
        return found

    def want(self, box: Box) -> None:
        """Ask for the blocks of a box; a thread that holds nothing up waits a moment for them."""
        if self._at_once(box):
            return
        missing = [block for block in self._blocks(box) if (self, block) not in self._reader.cache]
        self._reader.want(self, missing)
        if missing and threading.current_thread() is not threading.main_thread():
            # The viewer would have to show the same place twice.
            self._reader.wait_for(self, _PATIENCE)

    def _blocks(self, box: Box) -> list[tuple[int, ...]]:
        bounds = zip(box, self._block, strict=True)
        return list(itertools.product(*(range(a // n, -(-b // n)) for (a, b), n in bounds)))

    def _at_once(self, box: Box) -> bool:
        """Tell whether a box is not read by blocks."""
        if self._direct:
            return True
        size = len(self._blocks(box)) * math.prod(self._block) * self.dtype.itemsize
        # What could not be kept, beside other levels, would be read again and again.
        return size > self._reader.cache.limit // _SHARE

    def fill(self, target: NDArray[Any]) -> None:
        """Have the whole level written into an array, from the top, when there is time."""
        counts = (math.ceil(n / k) for n, k in zip(self.shape, self._block, strict=True))
        self._reader.fill(self, list(np.ndindex(*counts)), target)

    def place(self, pixels: NDArray[Any], block: Sequence[int], target: NDArray[Any]) -> None:
        """Write a block into an array of the level's shape."""
        starts = [i * n for i, n in zip(block, self._block, strict=True)]
        target[tuple(slice(s, s + n) for s, n in zip(starts, pixels.shape, strict=True))] = pixels

    def load(self, block: Sequence[int]) -> NDArray[Any]:
        """Read a block, in the thread that has time for it."""
        starts = [i * n for i, n in zip(block, self._block, strict=True)]
        stops = (min(s + n, end) for s, n, end in zip(starts, self._block, self.shape, strict=True))
        return self._fetch(tuple(zip(starts, stops, strict=True)))

    def _fetch(self, box: Box) -> NDArray[Any]:
        key = tuple(
            slice(a * k + k // 2, (b - 1) * k + k // 2 + 1, k)
            for (a, b), k in zip(box, self._step, strict=True)
        )
        pixels = read_block(self._source, key)
        if self.dtype.kind in "iu" and pixels.dtype != self.dtype:
            return cast_values(pixels.astype(np.float32), self.dtype)
        return np.ascontiguousarray(pixels, self.dtype)


def _block_shape(
    source: Any, shape: Sequence[int], step: Sequence[int], axes: Axes
) -> tuple[int, ...]:
    """Choose blocks of whole chunks, about as large as a part of a screen."""
    chunks = getattr(source, "chunks", None) or (1,) * len(shape)
    block = [1] * len(shape)
    if axes.samples is not None:
        block[axes.samples] = shape[axes.samples]
    for axis in reversed(range(len(shape))):
        chunk = chunks[axis]
        chunk = max(1, int(max(chunk) if isinstance(chunk, tuple) else chunk) // step[axis])
        side = min(_SIDE, max(1, _REACH // step[axis])) if axis in axes.spatial[-2:] else 1
        wanted = min(shape[axis], max(1, round(side / chunk)) * chunk)
        if axis != axes.samples:
            room = max(1, _BLOCK // math.prod(block))
            block[axis] = max(1, min(wanted, room))
    return tuple(block)
