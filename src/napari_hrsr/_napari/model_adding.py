"""Add model files in a thread: each is checked and measured, which takes seconds."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.qt.threading import create_worker
from psygnal import Signal

from napari_hrsr._napari.isotropic_controller import Relay
from napari_hrsr.errors import CancelledError, HrsrError, UntrustedError
from napari_hrsr.models.foreign.trust import TrustRequest

logger = logging.getLogger(__name__)

_POLL = 0.1


@dataclass(frozen=True, slots=True)
class Adding:
    """A file is being looked at: how many are done of how many, and which it is."""

    done: int
    total: int
    name: str


@dataclass(frozen=True, slots=True)
class Added:
    """Models are listed from now on under these names."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A file cannot be used, for this reason."""

    message: str


@dataclass(frozen=True, slots=True)
class Declined:
    """A file holds code that the user does not trust: all is as it was."""

    file: str


class Question:
    """Asks whether the user trusts a file, from the thread that adds it.

    Parameters
    ----------
    request : TrustRequest
        What would run.

    Attributes
    ----------
    request : TrustRequest
        The same.
    """

    def __init__(self, request: TrustRequest) -> None:
        self.request = request
        self._answers: queue.Queue[bool] = queue.Queue()

    def answer(self, trusted: bool) -> None:
        """Answer it; called in any thread."""
        self._answers.put(trusted)

    def wait(self, cancelled: Callable[[], bool]) -> bool:
        """Return the answer.

        Raises
        ------
        CancelledError
            If `cancelled` said so before there was one.
        """
        while True:
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=_POLL)
            if cancelled():
                msg = f"cancelled before it was said whether {self.request.file} is trusted"
                raise CancelledError(msg)


class ModelAdder:
    """Adds files and folders, one list of them at a time.

    Attributes
    ----------
    told : Signal(object)
        An `Adding`, `Added`, `Refused`, `Declined`, or a `Question` to be answered.
    ended : Signal(str)
        All files were looked at, or it was cancelled; with a line of text.
    """

    told = Signal(object)
    ended = Signal(str)

    def __init__(self) -> None:
        self._cancel = threading.Event()
        self._relay: Relay | None = None
        self._worker: Any = None
        self._added: list[str] = []
        self._declined: list[str] = []
        self._refused = 0
        self.running = False

    def start(self, paths: Sequence[Path]) -> bool:
        """Begin; returns whether it did: not while another list is under way."""
        if self.running or not paths:
            return False
        self._cancel = threading.Event()
        self._added, self._declined, self._refused = [], [], 0
        relay = Relay()
        relay.told.connect(self._on_event)
        worker = create_worker(
            add_all, list(paths), relay.tell, self._cancel.is_set, _start_thread=False
        )
        worker.finished.connect(self._on_finished)
        # Both stay until the next time: Qt may still be in their thread.
        self._relay, self._worker, self.running = relay, worker, True
        worker.start()
        return True

    def cancel(self) -> None:
        """Stop; what was added stays."""
        self._cancel.set()

    def close(self, *_: object) -> None:
        """Stop and tell nobody: the window is gone."""
        self.told.disconnect()
        self.ended.disconnect()
        self.cancel()

    def _on_event(self, event: Any) -> None:
        if isinstance(event, Added):
            self._added += event.names
        if isinstance(event, Refused):
            self._refused += 1
        if isinstance(event, Declined):
            self._declined.append(event.file)
        self.told.emit(event)

    def _on_finished(self) -> None:
        self.running = False
        parts = [f"Added {', '.join(self._added)}"] if self._added else []
        parts += ["cancelled"] if self._cancel.is_set() else []
        parts += [f"{self._refused} refused"] if self._refused else []
        parts += [f"not trusted and not added: {', '.join(self._declined)}"] * bool(self._declined)
        text = "; ".join(parts)
        self.ended.emit(text[:1].upper() + text[1:])


def add_all(
    paths: Sequence[Path], tell: Callable[[object], None], cancelled: Callable[[], bool]
) -> None:
    """Add files and folders one after another; what fails does not stop the others.

    Parameters
    ----------
    paths : sequence of Path
        As `installing.add_models` takes them.
    tell : callable
        Called with each `Adding`, `Added`, `Refused`, `Declined` and `Question`.
    cancelled : callable
        Polled between files and while they are measured.
    """
    from napari_hrsr.models.installing import add_models

    for number, path in enumerate(paths):
        name = path.name
        tell(Adding(number, len(paths), name))

        def report(done: int, total: int, name: str = name) -> None:
            tell(Adding(done, total, name))

        def ask(request: TrustRequest) -> bool:
            question = Question(request)
            tell(question)
            trusted = question.wait(cancelled)
            if not trusted:
                tell(Declined(request.file))
            return trusted

        try:
            specs = add_models(path, ask=ask, progress=report, cancelled=cancelled)
        except CancelledError:
            return
        except UntrustedError:
            continue
        except HrsrError as error:
            tell(Refused(str(error)))
        except Exception as error:
            logger.exception("adding %s failed", name)
            tell(Refused(f"{name}: unexpected {type(error).__name__}: {error}"))
        else:
            tell(Added(tuple(spec.name for spec in specs)))
