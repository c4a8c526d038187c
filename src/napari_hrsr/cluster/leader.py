"""The side that hands out: which unit is computed next, and what became of the others."""

from __future__ import annotations

import contextlib
import math
import os
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

from napari_hrsr.cluster.worker import compute_unit
from napari_hrsr.cluster.workers import Workers
from napari_hrsr.errors import ComputeError, HrsrError, OutOfMemoryError
from napari_hrsr.runs.computing import STOP, UnitDone, ask_to_stop
from napari_hrsr.runs.stored import StoredRun

_WINDOW = 3
"""Units under way per worker: one computed, the others on their way."""

_ATTEMPTS = 3
_POLL = 0.2
_COUNT_AGAIN = 2.0
_GRACE = 60.0
"""Seconds that workers are given to stop between two tiles."""

_SLOWER = 20.0
"""A unit that takes longer than this many times the longest so far is taken to hang."""


class Leader:
    """Hands out the units of one run, a few at a time.

    Parameters
    ----------
    client : distributed.Client
        Of the workers.
    run : StoredRun
        The run.
    workers : Workers
        Who computes.
    add : callable
        Told how many tiles each unit has written.
    cancelled : callable
        Asked between units.
    """

    def __init__(
        self,
        client: Any,
        run: StoredRun,
        workers: Workers,
        add: Callable[[int], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._client = client
        self._run = run
        self._workers = workers
        self._add = add
        self._cancelled = cancelled
        self._name = f"hrsr-{os.getpid()}-{time.monotonic_ns()}"
        self._finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._under_way: dict[Any, tuple[int, int]] = {}
        self._failed: dict[int, BaseException] = {}
        self._threads: int | None = None
        if workers.local is not None:
            self._threads = max(1, (os.cpu_count() or 1) // workers.local)
        self._count, self._counted_at = 0, -math.inf
        self._longest = 0.0
        self._last = time.monotonic()

    def lead(self, units: list[int]) -> None:
        """Have units computed.

        Parameters
        ----------
        units : list of int
            Their numbers.

        Raises
        ------
        HrsrError
            If a unit cannot be computed, written, or no worker does anything.
        """
        stop = self._run.folder / STOP
        stop.unlink(missing_ok=True)
        waiting = iter(units)
        try:
            while self._fill(waiting) and not self._cancelled():
                self._take()
            if self._cancelled():
                self._stop()
        except BaseException:
            self._stop()
            raise
        finally:
            if not self._under_way:
                stop.unlink(missing_ok=True)
        if self._failed:
            unit, error = min(self._failed.items(), key=lambda item: item[0])
            msg = (
                f"{len(self._failed)} of {len(self._run.units)} blocks cannot be computed; "
                f"block {unit}: {error}"
            )
            raise ComputeError(msg) from error

    def _fill(self, waiting: Iterator[int]) -> bool:
        """Hand out units while there is room; tell whether any is under way."""
        room = _WINDOW * max(1, self._count_workers())
        while len(self._under_way) < room:
            unit = next(waiting, None)
            if unit is None:
                break
            self._submit(unit, 1)
        return bool(self._under_way)

    def _submit(self, unit: int, attempt: int) -> None:
        future = self._client.submit(
            compute_unit,
            str(self._run.folder.resolve()),
            unit,
            self._threads,
            key=f"{self._name}-{unit}-{attempt}",
            pure=False,
        )
        self._under_way[future] = (unit, attempt)
        future.add_done_callback(self._finished.put)

    def _take(self) -> None:
        """Wait a moment for a unit, and see what became of it."""
        try:
            future = self._finished.get(timeout=_POLL)
        except queue.Empty:
            self._check_alive()
            return
        unit, attempt = self._under_way.pop(future)
        self._last = time.monotonic()
        try:
            done: UnitDone = future.result(timeout=_GRACE)
        except (OutOfMemoryError, ComputeError) as error:
            # The other units may be well.
            self._failed[unit] = error
        except HrsrError:
            raise
        except Exception as error:
            if self._client.status != "running":
                msg = "the scheduler was lost; what is written is kept"
                raise ComputeError(msg) from error
            if attempt < _ATTEMPTS:
                self._submit(unit, attempt + 1)
            else:
                self._failed[unit] = error
        else:
            self._longest = max(self._longest, done.seconds)
            self._add(done.tiles)
        finally:
            future.release()

    def _check_alive(self) -> None:
        silent = time.monotonic() - self._last
        if silent < max(self._workers.patience, _SLOWER * self._longest):
            return
        count = self._count_workers()
        what = f"none of {count} workers has" if count else "there is no worker that has"
        msg = (
            f"{what} finished a block for {silent / 60:.0f} minutes: look at the workers' logs, "
            "then go on; what is written is kept"
        )
        raise ComputeError(msg)

    def _count_workers(self) -> int:
        """Count the workers; the scheduler is asked once in a while only."""
        now = time.monotonic()
        if now - self._counted_at > _COUNT_AGAIN:
            self._count = len(self._client.scheduler_info(n_workers=-1)["workers"])
            self._counted_at = now
        return self._count

    def _stop(self) -> None:
        """Ask the workers to stop between two tiles, and wait until they have.

        A future that is cancelled says nothing of a worker that is busy with it,
        so units that are under way are left to find out by themselves.
        """
        ask_to_stop(self._run.folder)
        until = time.monotonic() + _GRACE
        while self._under_way and time.monotonic() < until and self._client.status == "running":
            try:
                future = self._finished.get(timeout=_POLL)
            except queue.Empty:
                with contextlib.suppress(Exception):
                    if not self._count_workers():
                        break
                continue
            self._under_way.pop(future, None)
            future.release()
        with contextlib.suppress(Exception):
            self._client.cancel(list(self._under_way))
