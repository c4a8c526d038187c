"""One isotropic run at a time: starts the worker, shows the result, always comes to an end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker
from psygnal import Signal
from qtpy.QtCore import QCoreApplication, QObject
from qtpy.QtCore import Signal as QtSignal

from napari_hrsr._napari.controller import format_time
from napari_hrsr._napari.isotropic_run import (
    Control,
    Doubted,
    Kept,
    Request,
    Step,
    run_isotropic,
)
from napari_hrsr._napari.live import LiveResult
from napari_hrsr._napari.run import Failed, Finished, Prepared, Status
from napari_hrsr.layers import result_attributes

if TYPE_CHECKING:
    import napari


class Relay(QObject):
    """Carries what a thread tells to the thread of the window."""

    told = QtSignal(object)

    def tell(self, event: Any) -> None:
        """Pass an event on; called in any thread."""
        # The window, and this with it, may be gone by now.
        with contextlib.suppress(RuntimeError):
            self.told.emit(event)


class Remaining:
    """Says how long a phase still takes, from its parts that are done."""

    def __init__(self) -> None:
        self._phase, self._began, self._first = "", 0.0, 0

    def describe(self, step: Step) -> str:
        """Return a line about how far a phase is."""
        now = time.monotonic()
        if step.phase != self._phase:
            self._phase, self._began, self._first = step.phase, now, step.done
        text = f"{step.phase}: {step.done} of {step.total}"
        done = step.done - self._first
        if done > 0:
            left = (now - self._began) / done * (step.total - step.done)
            text += f", {format_time(left)} left"
        return text


class IsotropicController:
    """Runs a request in a worker thread and shows its result in a viewer.

    Attributes
    ----------
    told : Signal(object)
        What happens, other than progress: an `Event` of the run.
    progressed : Signal(int, int, str)
        Parts done, parts in total (0 while unknown), and a line of text.
    ended : Signal(str)
        The run has come to an end, however it did, with a line of text.
    """

    told = Signal(object)
    progressed = Signal(int, int, str)
    ended = Signal(str)

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._control = Control()
        self._worker: Any = None
        self._relay: Relay | None = None
        self._source: Any = None
        self._live: LiveResult | None = None
        self._remaining = Remaining()
        self._running = self._closed = False
        self._outcome = self._kept = ""
        self._started = 0.0
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.cancel)

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._running

    @property
    def cancelling(self) -> bool:
        """Whether the run was asked to stop."""
        return self._control.cancel.is_set()

    def start(self, request: Request, source: napari.layers.Image) -> bool:
        """Start a run; do nothing while another is under way.

        Parameters
        ----------
        request : Request
            What to do.
        source : napari.layers.Image
            The layer.
        """
        if self._running or self._closed:
            return False
        control, relay = Control(), Relay()
        self._control, self._relay, self._source = control, relay, source
        self._outcome = self._kept = ""
        self._remaining, self._started = Remaining(), time.monotonic()
        relay.told.connect(self._on_event)
        worker = create_worker(run_isotropic, request, control, relay.tell, _start_thread=False)
        worker.finished.connect(self._on_finished)
        # The worker stays until the next run: Qt may still be in its thread.
        self._worker, self._running = worker, True
        self.progressed.emit(0, 0, "Starting")
        worker.start()
        return True

    def cancel(self) -> None:
        """Ask the run to stop; it has within two seconds, and `ended` tells."""
        if self._running:
            self._control.cancel.set()

    def enough(self) -> None:
        """Ask the run to learn no longer, and to use what it has learned."""
        self._control.enough.set()

    def close(self) -> None:
        """Stop the run and tell nobody: the widget or its window is gone."""
        for signal in (self.told, self.progressed, self.ended):
            signal.disconnect()
        self._closed = True
        self.cancel()
        application = QCoreApplication.instance()
        if application is not None:
            # The connection would keep this object, and with it the viewer, alive.
            application.aboutToQuit.disconnect(self.cancel)

    def _on_event(self, event: Any) -> None:
        if self._closed:
            return
        match event:
            case Step():
                self._on_step(event)
            case Status():
                self.progressed.emit(0, 0, event.text)
            case Prepared():
                try:
                    name = f"{self._source.name} isotropic"
                    self._live = LiveResult(self._viewer, self._source, event, name=name)
                except Exception:
                    # Without its layer the result would be computed for nobody.
                    self.cancel()
                    raise
                finally:
                    event.shown.set()
            case Finished():
                self._on_result(event)
            case Doubted():
                self._viewer.add_image(event.data, **doubt_attributes(self._source, event))
            case Failed():
                self._outcome = event.message
                self.told.emit(event)
            case _:
                if isinstance(event, Kept):
                    self._kept = f"; the network is kept as {event.name!r}"
                self.told.emit(event)

    def _on_step(self, step: Step) -> None:
        text = self._remaining.describe(step)
        if self._live is not None:
            if self._live.removed:
                self.cancel()
            self._live.redraw()
        self.progressed.emit(step.done, step.total, text)

    def _on_result(self, finished: Finished) -> None:
        took = format_time(time.monotonic() - self._started)
        self._outcome = (f"Done in {took}" if finished.complete else "Cancelled") + self._kept
        if self._live is not None and finished.complete:
            self._live.settle(finished)
            self._live = None
        self.told.emit(finished)

    def _on_finished(self) -> None:
        # What belongs to a window that is being deleted cannot be removed from it.
        with contextlib.suppress(RuntimeError) if self._closed else contextlib.nullcontext():
            if self._live is not None:
                self._live.discard()
        self._live = self._source = self._relay = None
        self._running = False
        self.ended.emit(self._outcome or "Cancelled")


def doubt_attributes(source: napari.layers.Image, doubted: Doubted) -> dict[str, Any]:
    """Return the attributes of the layer of a map of doubt, which lies on the result.

    Parameters
    ----------
    source : napari.layers.Image
        The stack.
    doubted : Doubted
        The map.
    """
    attributes = result_attributes(source, doubted.job, doubted.record)
    low, high = source.contrast_limits
    return attributes | {
        "name": f"{source.name} doubt",
        "colormap": "inferno",
        # A tenth of the range that is looked at is much to be unsure of.
        "contrast_limits": (0.0, max(0.1 * (high - low), 1e-6)),
        "visible": False,
    }


def in_background(work: Callable[[], Any], done: Callable[[Any], None]) -> Relay:
    """Do something in a thread that ends with the process, and tell when it is done.

    Parameters
    ----------
    work : callable
        Called in the thread.
    done : callable
        Called in this one afterwards.

    Returns
    -------
    Relay
        To be held for as long as it is to be told.
    """
    relay = Relay()
    relay.told.connect(done)

    def run() -> None:
        work()
        relay.tell(None)

    threading.Thread(target=run, daemon=True).start()
    return relay
