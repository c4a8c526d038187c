"""One training at a time: starts the worker, passes its events on, always comes to an end."""

from __future__ import annotations

from typing import Any

from napari.qt.threading import create_worker
from psygnal import Signal
from qtpy.QtCore import QCoreApplication

from napari_hrsr._napari.training_child import Stop
from napari_hrsr._napari.training_process import Order, Outcome, follow


class TrainingController:
    """Runs orders in a worker thread that watches a process.

    Attributes
    ----------
    told : Signal(object)
        An `Event` of the training, or `Pictures`.
    ended : Signal(object)
        The `Outcome`; the process has ended by then, however it did.
    """

    told = Signal(object)
    ended = Signal(object)

    def __init__(self) -> None:
        self._worker: Any = None
        self._events: Any = None
        self._stop = Stop()
        self._outcome: Outcome | None = None
        self._running = self._closed = False
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.stop)

    @property
    def running(self) -> bool:
        """Whether a training is under way."""
        return self._running

    def start(self, order: Order) -> bool:
        """Start a training; do nothing while another is under way."""
        if self._running or self._closed:
            return False
        self._stop, self._outcome, self._running = Stop(), None, True
        events = follow(order, self._stop)
        self._events = events

        def work() -> Any:
            yield from events

        worker = create_worker(work, _start_thread=False)
        worker.yielded.connect(self._on_event)
        worker.errored.connect(self._on_bug)
        worker.finished.connect(self._on_finished)
        self._worker = worker
        worker.start()
        return True

    def stop(self) -> None:
        """Ask the training to stop; it has within two seconds, and `ended` tells."""
        if self._running:
            self._stop()

    def close(self) -> None:
        """Stop the training and tell nobody: the widget or its window is gone."""
        self.told.disconnect()
        self.ended.disconnect()
        self.stop()
        self._closed = True
        application = QCoreApplication.instance()
        if application is not None:
            # The connection would keep this object alive.
            application.aboutToQuit.disconnect(self.stop)

    def _on_event(self, event: Any) -> None:
        if isinstance(event, Outcome):
            self._outcome = event
        elif not self._closed:
            self.told.emit(event)

    def _on_bug(self, error: BaseException) -> None:
        self._outcome = Outcome("failed", f"Unexpected {type(error).__name__}: {error}")

    def _on_finished(self) -> None:
        # A worker that napari has stopped leaves its generator where it was:
        # closing it ends the process.
        if self._events is not None:
            self._events.close()
        self._events, self._running = None, False
        self.ended.emit(self._outcome or Outcome("stopped", "Stopped"))
