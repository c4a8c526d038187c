"""The process of a training, and how it is stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import psutil

from napari_hrsr.errors import OutputError

PATIENCE = 1.2
"""Seconds that a training has to stop by itself."""

_POLITE = 5
_COMPLAINT = 1500


class Child:
    """The process of a training.

    Parameters
    ----------
    arguments : list of str
        Of the command ``train``.
    """

    def __init__(self, arguments: list[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        group: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NO_WINDOW}
        # -P: a file in the current folder must not stand for a module.
        command = [sys.executable, "-P", "-m", "napari_hrsr.cli", "train", "--events", *arguments]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                encoding="utf-8",
                errors="replace",
                **group,
            )
        except OSError as error:
            self._errors.close()
            msg = f"cannot start the training process {sys.executable}: {error.strerror or error}"
            raise OutputError(msg) from None
        self._killer: threading.Timer | None = None
        with contextlib.suppress(psutil.Error, OSError):
            # The window goes first where both want the processor.
            process = psutil.Process(self._process.pid)
            if sys.platform == "win32":
                process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
            else:
                process.nice(min(process.nice() + _POLITE, 19))

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def lines(self) -> Iterator[str]:
        """Return what it writes, line by line, until it ends."""
        assert self._process.stdout is not None
        return iter(self._process.stdout)

    def stop(self) -> None:
        """Ask it to stop; kill it if it has not within `PATIENCE`."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        if self._killer is None:
            self._killer = threading.Timer(PATIENCE, self.kill)
            self._killer.daemon = True
            self._killer.start()

    def kill(self) -> None:
        """End it, and the processes that prepare its batches, at once."""
        if self._process.poll() is not None:
            return
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end; return its exit code."""
        return self._process.wait()

    def complaint(self) -> str:
        """Return the last of what it wrote as errors."""
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace").strip()[-_COMPLAINT:]

    def close(self) -> None:
        """End it, whatever it does, and let go of it."""
        self.kill()
        self.wait()
        if self._killer is not None:
            self._killer.cancel()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


class Stop:
    """A request to stop; the process is gone within `PATIENCE` and a little."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._child: Child | None = None

    def __call__(self) -> None:
        with self._lock:
            self._asked.set()
            if self._child is not None:
                self._child.stop()

    def asked(self) -> bool:
        """Return whether to stop."""
        return self._asked.is_set()

    def watch(self, child: Child | None) -> None:
        """Name the process that is to be stopped from now on."""
        with self._lock:
            self._child = child
            if child is not None and self.asked():
                child.stop()
