"""A live view: answers at once, and has what is looked at computed.

Whoever asks for pixels gets those that are there, and interpolation for the
rest. The tiles that were missing are computed by a thread, those of the last
request first; what is no longer looked at is left out. It drains the one
generator that every run drains.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.errors import CancelledError, HrsrError, InputError
from napari_hrsr.intensity import Intensity, Per
from napari_hrsr.jobs import Job, describe_job, start_job
from napari_hrsr.lazy.enlarging import stand_in
from napari_hrsr.lazy.pixel_cache import PixelCache
from napari_hrsr.lazy.sampling import Settled, settle_for_viewing
from napari_hrsr.lazy.source_levels import BlockReader, SourceLevel
from napari_hrsr.lazy.tile_ends import CheckedSource, TileSink
from napari_hrsr.lazy.viewed_tiles import Tile, TileMap
from napari_hrsr.lazy.windows import Box, LazyArray, copy_overlap
from napari_hrsr.memory import keep_memory
from napari_hrsr.pixels import needs_every_value
from napari_hrsr.projection_weight import settle_projection
from napari_hrsr.watching import Watched

logger = logging.getLogger(__name__)

_OF_SOURCE = 4
"""The source's blocks take one part in so many of the memory."""

_REST = 0.05
_NICENESS = 10


class LiveView:
    """Upscaled pixels of the places that are looked at.

    Parameters
    ----------
    job : Job
        Of a whole image, with a model of whole factors that keeps its values.
    memory : int
        Most bytes that are held of results and of the source together.
    intensity, noise
        As for `api.settle_intensity`.

    Attributes
    ----------
    array : LazyArray
        The result. It is sliced like an array; ``numpy.asarray`` of a part
        gives its pixels at once.
    levels : list of array
        The result, and the source as coarser levels, for a viewer.
    changed : callable
        Called in a thread when pixels, or what is known, have changed.
    failed : callable
        Called in a thread with a sentence, once for each kind of failure.
    told : list of str
        These sentences so far.
    in_view : callable
        Asked whether anybody looks at the result itself; while it says False,
        nothing is computed.
    """

    def __init__(
        self,
        job: Job,
        memory: int,
        *,
        intensity: Per | Intensity | None = None,
        noise: str | float = "auto",
    ) -> None:
        self.job = job
        self.changed: Callable[[], None] = lambda: None
        self.failed: Callable[[str], None] = lambda message: None
        self.in_view: Callable[[], bool] = lambda: True
        self.told: list[str] = []
        self.settled: Settled | None = None
        self.tiles = TileMap(job)
        self.cache = PixelCache(memory - memory // _OF_SOURCE)
        self.blocks = BlockReader(
            PixelCache(memory // _OF_SOURCE),
            self._tell,
            self._say,
            lambda: not self._running,
        )
        self.source = SourceLevel(
            job.source, (1,) * job.axes.ndim, job.axes, job.dtype, self.blocks
        )
        self.array: LazyArray = _Result(self)
        self.levels: list[Any] = [self.array]
        self._factor = tuple(int(k) for k in job.factor)
        self._given = (intensity, noise)
        self._state = threading.Condition()
        self._wanted: list[int] = []
        self._asked = 0.0
        self._readers = 0
        self._running: set[int] = set()
        self._refused: set[int] = set()
        self._watched: Watched | None = None
        self._picture: _Picture | None = None
        self._dead = False
        self._thread: threading.Thread | None = None
        _open_views.add(self)

    @property
    def nbytes(self) -> int:
        """Bytes that are held of results and of the source."""
        return self.cache.nbytes + self.blocks.cache.nbytes

    @property
    def closed(self) -> bool:
        """Whether it computes no more: it was closed, or has failed."""
        return self._dead

    @property
    def progress(self) -> tuple[int, int]:
        """Tiles of the last request that are there, and all of them."""
        with self._state:
            return len(self._wanted) - len(self._left()), len(self._wanted)

    @property
    def outdated(self) -> bool:
        """Whether more is there now than when pixels were last asked for."""
        picture, blocks = self._picture, self.blocks
        if picture is None or blocks.arrived != blocks.seen:
            return True
        with self._state:
            return any(i in self.cache and i not in picture.there for i in self._wanted)

    def record(self, source_name: str = "") -> dict[str, Any]:
        """Record how its pixels are made; empty until the image has been measured.

        Parameters
        ----------
        source_name : str
            Name of the image.
        """
        if self.settled is None or self._watched is None:
            return {}
        found = describe_job(self.job, self.settled.intensity, source_name=source_name)
        return self._watched.added_to(found) | {"intensity_sampled": self.settled.sampled}

    def start(self) -> None:
        """Measure the image and wait for requests, in a thread."""
        if self._thread is None and not self._dead:
            self._thread = threading.Thread(target=self._work, name="hrsr-live", daemon=True)
            self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all that was asked for is there; return whether it is.

        Parameters
        ----------
        timeout : float, optional
            Most seconds to wait.
        """
        with self._state:
            return self._state.wait_for(
                lambda: self._dead or not (self._running or self._left()), timeout
            )

    def close(self) -> None:
        """Compute no more and let go of all pixels; does not wait for the tile under way."""
        with self._state:
            self._dead = True
            self._wanted = []
            self._state.notify_all()
        self.changed, self.failed, self.in_view = _nothing, _nothing, lambda: False
        self.blocks.close()
        self.cache.clear()
        self.blocks.cache.clear()
        self._picture = None
        _open_views.discard(self)

    def join(self, timeout: float = 5.0) -> bool:
        """Wait for the threads of a view that was closed; return whether they have ended."""
        self.blocks.join(timeout)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def __enter__(self) -> LiveView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, box: Box) -> NDArray[Any]:
        """Return pixels of the result at once, and ask for the tiles that are missing.

        Parameters
        ----------
        box : tuple of (int, int)
            First and one past the last pixel of the result, per axis.

        Returns
        -------
        ndarray
            Computed where a tile is there, interpolated elsewhere.
        """
        tiles = self.tiles.tiles(box)
        with self._state:
            self._readers += 1
        try:
            return self._read(box, tiles)
        finally:
            self._ask(tiles[: self.cache.limit // self.tiles.nbytes])

    def _read(self, box: Box, tiles: Sequence[Tile]) -> NDArray[Any]:
        before = self._picture
        arrived = self.blocks.arrived
        if before is not None and before.box == box and before.arrived == arrived:
            # Viewers ask again and again while tiles come: only these are new.
            pixels, there = before.pixels.copy(), before.there
        else:
            pixels, there = np.empty([b - a for a, b in box], self.job.dtype), frozenset()
            before = None
        computed, missing = set(there), []
        for tile in tiles:
            found = self.cache.get(tile.index)
            if found is None:
                missing.append(tile)
            elif tile.index not in there:
                copy_overlap(found, tile.box, pixels, box)
                computed.add(tile.index)
        if before is None and missing:
            stand_in(self.source, [tile.box for tile in missing], box, pixels, self._factor)
            arrived = self.blocks.seen
        self._picture = _Picture(box, pixels.copy(), frozenset(computed), arrived)
        return pixels

    def _ask(self, tiles: Sequence[Tile]) -> None:
        with self._state:
            self._readers -= 1
            if self._dead:
                return
            wanted = [tile.index for tile in tiles if tile.index not in self._refused]
            if wanted != self._wanted:
                self._wanted, self._asked = wanted, time.monotonic()
            self._state.notify_all()

    def _left(self) -> list[int]:
        return [tile for tile in self._wanted if tile not in self.cache]

    def _work(self) -> None:
        _let_viewer_first()
        try:
            # Each run by itself would give its memory back at its end, for which all threads wait.
            with keep_memory():
                self._settle()
                while tiles := self._next():
                    self._compute(tiles)
        except CancelledError:
            pass
        except HrsrError as error:
            self._give_up(str(error))
        except BaseException as error:
            logger.exception("the live view has failed")
            self._give_up(f"unexpected {type(error).__name__}: {error}. The log has the details")
        finally:
            with self._state:
                self._running = set()
                self._state.notify_all()
            if self._dead:
                self.cache.clear()

    def _settle(self) -> None:
        """Measure the image, and what holds the result to it, once and for all."""

        def stopped() -> bool:
            return self._dead

        self.settled = settle_for_viewing(self.job, *self._given, cancelled=stopped)
        job = settle_projection(self.job, self.settled.intensity, cancelled=stopped)
        self._watched = Watched(job)
        self.job = job
        self._tell()

    def _next(self) -> list[int]:
        """Wait for tiles that are wanted; nothing when it is over."""
        with self._state:
            while True:
                self._state.wait_for(lambda: self._dead or self._left())
                if self._dead:
                    return []
                # While somebody is still moving, what is asked for now is looked at no more.
                rest = self._asked + _REST - time.monotonic()
                if rest > 0 or self._readers:
                    self._state.wait(rest if rest > 0 else None)
                    continue
                if self.in_view():
                    tiles = self._left()
                    self._running = set(tiles)
                    return tiles
                self._wanted = []
                self._state.notify_all()

    def _compute(self, tiles: Sequence[int]) -> None:
        try:
            self._run(tiles)
        except InputError as error:
            left = [tile for tile in tiles if tile in self._running]
            if len(left) == 1:
                self._refuse(left[0], str(error))
            elif left:
                # Which one it was only shows when they are read one by one.
                for tile in left:
                    self._compute([tile])
        finally:
            with self._state:
                self._running.difference_update(tiles)
                self._state.notify_all()

    def _run(self, tiles: Sequence[int]) -> None:
        sink = TileSink(self.job)
        source: Any = self.job.source
        if needs_every_value(source.dtype):
            source = CheckedSource(source)
        assert self.settled is not None
        assert self._watched is not None
        records = start_job(
            replace(self.job, source=source),
            sink,
            self.settled.intensity,
            indices=tiles,
            cancelled=self._stale,
        )
        for record in self._watched.through(records):
            pixels = sink.take(record.region)
            with self._state:
                if not self._dead:
                    self.cache.put(record.index, pixels)
                self._running.discard(record.index)
                self._state.notify_all()
            self._tell()

    def _stale(self) -> bool:
        """Tell whether tiles under way are no longer looked at."""
        with self._state:
            wanted = set(self._wanted)
        return self._dead or not self._running <= wanted or not self.in_view()

    def _refuse(self, tile: int, message: str) -> None:
        """Leave the interpolation where a tile cannot be computed; say so the first time."""
        with self._state:
            first = not self._refused
            self._refused.add(tile)
            self._wanted = [other for other in self._wanted if other != tile]
        if first:
            self._say(f"{message}. Such places are shown interpolated")
        self._tell()

    def _give_up(self, message: str) -> None:
        with self._state:
            self._dead = True
            self._wanted = []
            self._state.notify_all()
        self._say(message)
        self._tell()

    def _say(self, message: str) -> None:
        self.told.append(message)
        self.failed(message)

    def _tell(self) -> None:
        self.changed()


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """The pixels that were given last, and which tiles of them were computed."""

    box: Box
    pixels: NDArray[Any]
    there: frozenset[int]
    arrived: int


class _Result(LazyArray):
    """The pixels of a live view, as an array."""

    def __init__(self, view: LiveView) -> None:
        super().__init__(view.job.shape, view.job.dtype)
        self._view = view

    def read(self, box: Box) -> NDArray[Any]:
        return self._view.read(box)


def _let_viewer_first() -> None:
    """Have this thread, and those that it starts, give way to the one that draws."""
    if sys.platform == "linux":
        # Only Linux has a niceness for each thread.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _nothing(*_: object) -> None:
    """Do nothing."""


_open_views: weakref.WeakSet[LiveView] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Let threads end before the interpreter takes their modules away."""
    views = list(_open_views)
    for view in views:
        view.close()
    for view in views:
        view.join()
