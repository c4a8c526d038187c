"""One run at a time: starts the worker, hears its events, always comes to an end."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker
from napari.utils import progress
from napari.utils.notifications import show_error
from psygnal import Signal
from qtpy.QtCore import QCoreApplication

from napari_hrsr._napari.live import LiveResult
from napari_hrsr._napari.run import (
    Cancel,
    Failed,
    Finished,
    Prepared,
    Request,
    Status,
    run_requests,
)
from napari_hrsr.models.describing import doing

if TYPE_CHECKING:
    import napari

_END = object()


class RunController:
    """Runs requests in a worker thread and shows them in a viewer.

    Attributes
    ----------
    progressed : Signal(int, int, str)
        Tiles done, tiles in total (0 while unknown), and a line of text.
    ended : Signal(str)
        The run has come to an end, however it did, with a line of text.
    """

    progressed = Signal(int, int, str)
    ended = Signal(str)

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._closed = self._running = False
        self._worker: Any = None
        self._events: Any = None
        self._cancel = Cancel()
        self._requests: list[Request] = []
        self._sources: list[Any] = []
        self._live: LiveResult | None = None
        self._bar: progress | None = None
        self._queue: deque[Any] = deque()
        self._number = 0
        self._started = 0.0
        self._outcome = ""
        self.tiles_done = 0
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.cancel)

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._running

    def start(self, requests: Sequence[Request], sources: Sequence[Any]) -> bool:
        """Start a run; do nothing while another is under way.

        Parameters
        ----------
        requests : sequence of Request
            What to do.
        sources : sequence of napari.layers.Image
            The layer of each request.
        """
        if self.running:
            return False
        self._cancel = Cancel()
        self._requests, self._sources = list(requests), list(sources)
        self._outcome, self.tiles_done, self._number = "", 0, 0
        events = run_requests(self._requests, self._cancel)
        self._events = events

        def work() -> Any:
            yield from events

        worker = create_worker(work, _start_thread=False)
        worker.yielded.connect(self._enqueue)
        worker.errored.connect(self._enqueue)
        worker.finished.connect(lambda: self._enqueue(_END))
        self._worker, self._running = worker, True
        self.progressed.emit(0, 0, "Starting")
        worker.start()
        return True

    def cancel(self, *, keep: bool = False) -> None:
        """Ask the run to stop after the current tile."""
        if self.running:
            self._cancel(keep=keep)

    def close(self) -> None:
        """Stop the run and tell nobody: the widget or its window is gone."""
        self.progressed.disconnect()
        self.ended.disconnect()
        self._closed = True
        self.cancel()
        application = QCoreApplication.instance()
        if application is not None:
            # The connection would keep this object, and with it the viewer, alive.
            application.aboutToQuit.disconnect(self.cancel)

    def _enqueue(self, event: Any) -> None:
        """Handle events one after the other.

        napari's progress bars run the event loop while they are made, so the
        next event may arrive in the middle of this one.
        """
        self._queue.append(event)
        if len(self._queue) > 1:
            return
        while self._queue:
            try:
                self._on_event(self._queue[0])
            finally:
                self._queue.popleft()

    def _on_event(self, event: Any) -> None:
        if self._closed and event is not _END:
            return
        match event:
            case BaseException():
                self._outcome = f"Unexpected {type(event).__name__}: {event}"
            case _ if event is _END:
                self._on_finished()
            case Status(number, text):
                self._number = number
                self.progressed.emit(0, 0, self._prefix() + text)
            case Prepared():
                try:
                    self._on_prepared(event)
                except Exception:
                    # Without its layer the result would be computed for nobody.
                    self.cancel()
                    raise
                finally:
                    event.shown.set()
            case Finished():
                self._on_request_finished(event)
            case Failed(_, message):
                self._outcome = message
                self._close_live(discard=True)
                show_error(message)
            case _:
                self._on_tile(event)

    def _on_prepared(self, prepared: Prepared) -> None:
        name = self._requests[prepared.number].name
        what = doing(prepared.job.model.spec)
        self._bar = progress(total=prepared.job.total, desc=f"{what} {name}")
        self._started, self.tiles_done = time.monotonic(), 0
        self._live = LiveResult(self._viewer, self._sources[prepared.number], prepared)
        self.progressed.emit(
            0, prepared.job.total, f"{self._prefix()}0 of {prepared.job.total} tiles"
        )

    def _on_tile(self, tile: Any) -> None:
        self.tiles_done = tile.done
        if self._bar is not None:
            self._bar.update(1)
        if self._live is not None:
            if self._live.removed:
                self._cancel()
            self._live.redraw()
        remaining = (time.monotonic() - self._started) * (tile.total - tile.done) / tile.done
        text = f"{tile.done} of {tile.total} tiles, {format_time(remaining)} left"
        self.progressed.emit(tile.done, tile.total, self._prefix() + text)

    def _on_request_finished(self, finished: Finished) -> None:
        took = format_time(time.monotonic() - self._started)
        removed = self._live is None or self._live.removed
        if self._live is not None:
            self._live.settle(finished)
        self._close_live()
        if finished.complete:
            remark = f"; {finished.remark}" if finished.remark else ""
            self._outcome = f"Done in {took}{remark}"
        elif finished.kept and not removed:
            self._outcome = "Cancelled; what was done is kept"
        else:
            self._outcome = "Cancelled"

    def _on_finished(self) -> None:
        # A worker that napari has stopped leaves its generator where it was:
        # closing it joins its threads and removes its partial files.
        if self._events is not None:
            self._events.close()
        # What belongs to a window that is being deleted cannot be removed from it.
        with contextlib.suppress(RuntimeError) if self._closed else contextlib.nullcontext():
            self._close_live(discard=True)
        # The worker itself stays until the next run: Qt may still be in its thread.
        self._events, self._running = None, False
        self._requests, self._sources = [], []
        self.ended.emit(self._outcome or "Cancelled")

    def _close_live(self, *, discard: bool = False) -> None:
        if self._live is not None and discard:
            self._live.discard()
        self._live = None
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _prefix(self) -> str:
        if len(self._requests) < 2:
            return ""
        return f"Layer {self._number + 1} of {len(self._requests)}: "


def format_time(seconds: float) -> str:
    """Write a duration for people: ``"8 s"``, ``"2 min 5 s"``, ``"3 h 10 min"``."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
