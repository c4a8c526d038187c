"""A widget with one run at a time in a worker thread: started, followed, cancelled, closed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from magicgui.widgets import Container, Label, ProgressBar, PushButton
from napari.qt.threading import create_worker
from napari.utils.notifications import show_error
from psygnal import Signal
from qtpy.QtCore import QCoreApplication

from napari_hrsr._napari.fitting import wrap
from napari_hrsr._napari.graphics import keep_second_llvm_out
from napari_hrsr._napari.isotropic_controller import Relay
from napari_hrsr.errors import CancelledError, HrsrError

if TYPE_CHECKING:
    import napari

logger = logging.getLogger(__name__)

Report = Callable[[str, int, int], None]
Work = Callable[[Report, Callable[[], bool]], Any]
"""Called with where to tell its progress, and with what says whether to stop."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What is under way.

    Attributes
    ----------
    name : str
        Of the layer it is about, for messages.
    work : callable
        What is done in the worker thread.
    show : callable
        What is done with its outcome in the thread of the window; returns a
        line of text on how it ended.
    cancel : threading.Event
        Set when it shall stop.
    relay : Relay
        Carries what happens into the thread of the window.
    """

    name: str
    work: Work
    show: Callable[[Any], str]
    cancel: threading.Event
    relay: Relay


class RunContainer(Container):
    """Buttons, a bar and a line of text around a run.

    A subclass builds its form with `cancel_button`, `bar` and `status` in it,
    sets `starters`, and then calls `_follow_runs`.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the layers are.

    Attributes
    ----------
    starters : tuple of PushButton
        Buttons that start a run; none can be pressed during one.
    ended : Signal(str)
        A run has come to an end, however it did, with a line of text.
    """

    ended = Signal(str)

    def __init__(self, viewer: napari.Viewer) -> None:
        # Before anything that a run imports: by now the window is there.
        keep_second_llvm_out()
        super().__init__(labels=True)
        self._viewer = viewer
        self._run: Run | None = None
        self._worker: Any = None
        self._closed = False
        self.starters: tuple[PushButton, ...] = ()
        self.cancel_button = PushButton(text="Cancel", enabled=False)
        self.bar = ProgressBar(min=0, max=1, value=0)
        self.status = Label()
        wrap(self.status)

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._run is not None

    def cancel(self) -> None:
        """Ask the run to stop."""
        if self._run is not None:
            self._run.cancel.set()
            if not self._closed:
                self.cancel_button.enabled = False
                self.status.value = "Cancelling"

    def _follow_runs(self) -> None:
        self.bar.visible = self.status.visible = False
        self.cancel_button.clicked.connect(self.cancel)
        self.native.destroyed.connect(self._close)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.cancel)

    def _refuse(self, text: str) -> None:
        """Tell people what is wrong."""
        show_error(text)

    def _begin(
        self, name: str, work: Work, show: Callable[[Any], str], status: str = "Starting"
    ) -> None:
        """Start in a worker thread; see `Run`."""
        relay = Relay()
        relay.told.connect(self._on_event)
        run = Run(name, work, show, threading.Event(), relay)
        worker = create_worker(_perform, run, _start_thread=False)
        worker.finished.connect(self._on_finished)
        self._run, self._worker = run, worker
        for button in self.starters:
            button.enabled = False
        self.cancel_button.enabled = self.bar.visible = self.status.visible = True
        self.bar.max = self.bar.value = 0
        self.status.value = status
        worker.start()

    def _describe(self, phase: str, done: int, total: int) -> str:
        """Return a line on how far a phase is."""
        return f"{phase}: {done} of {total}"

    def _on_event(self, event: Any) -> None:
        run = self._run
        if self._closed or run is None:
            return
        match event:
            case (str() as phase, int() as done, int() as total):
                self.bar.max, self.bar.value = max(1, total), done
                text = self._describe(phase, done, total)
                if not run.cancel.is_set():
                    self.status.value = text
            case str() as error:
                self.status.value = "Failed"
                self._refuse(error)
            case None:
                self.status.value = "Cancelled"
            case found:
                self.status.value = run.show(found)

    def _on_finished(self) -> None:
        self._run = None
        if self._closed:
            return
        self.bar.visible = self.cancel_button.enabled = False
        for button in self.starters:
            button.enabled = True
        self.ended.emit(self.status.value)

    def _close(self) -> None:
        """Stop the run and tell nobody: the widget or its window is gone."""
        self._closed = True
        self.cancel()
        application = QCoreApplication.instance()
        if application is not None:
            # The connection would keep this object, and with it the viewer, alive.
            application.aboutToQuit.disconnect(self.cancel)


def _perform(run: Run) -> None:
    """Do the work in the worker thread; every failure is told, none is raised."""
    tell = run.relay.tell
    try:

        def report(phase: str, done: int, total: int) -> None:
            tell((phase, done, total))

        tell(run.work(report, run.cancel.is_set))
    except CancelledError:
        tell(None)
    except HrsrError as error:
        tell(f"{run.name}: {error}")
    except Exception as error:
        logger.exception("the run on %s failed", run.name)
        tell(
            f"{run.name}: unexpected {type(error).__name__}: {error}. "
            "Nothing was changed; the log has the details"
        )
