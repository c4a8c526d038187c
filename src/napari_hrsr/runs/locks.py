"""Who is at work on a run: files that say so, and are known to be stale when they are."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from napari_hrsr.errors import OutputError

_HEARTBEAT = 15.0
_STALE = 180.0
"""Seconds without a heartbeat after which a process of another machine is taken for dead."""


@contextlib.contextmanager
def held(folder: Path, name: str, *, against: str = "*.lock") -> Iterator[None]:
    """Hold a lock, unless another process holds one that excludes it.

    Parameters
    ----------
    folder : Path
        Of the run.
    name : str
        Of the lock, without its suffix.
    against : str
        Pattern of the locks that exclude this one.

    Raises
    ------
    OutputError
        If another run is at work.
    """
    path = folder / f"{name}.lock"
    if not _created(path):
        raise _busy(folder)
    done = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, done), name="hrsr-lock", daemon=True)
    beating.start()
    try:
        for other in folder.glob(against):
            if other != path and is_live(other):
                raise _busy(folder)
        yield
    finally:
        done.set()
        beating.join()
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def tried(folder: Path, name: str) -> Iterator[bool]:
    """Hold a lock if no other process does, and say whether.

    Parameters
    ----------
    folder : Path
        Of the run.
    name : str
        Of the lock, without its suffix.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held(folder, name, against=f"{name}.lock"))
            mine = True
        except OutputError:
            mine = False
        yield mine


def is_live(path: Path) -> bool:
    """Tell whether the process that made a lock may be alive.

    Parameters
    ----------
    path : Path
        The lock.
    """
    try:
        owner = json.loads(path.read_text("utf-8"))
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        # Its owner may be about to write it.
        return _age(path) < _HEARTBEAT
    if owner.get("machine") == _machine():
        return _is_running(owner)
    return age < _STALE


def _created(path: Path) -> bool:
    """Create a lock; take over one whose owner is dead."""
    for _ in range(2):
        try:
            with path.open("x", encoding="utf-8") as file:
                json.dump(_owner(), file)
        except FileExistsError:
            if is_live(path):
                return False
            path.unlink(missing_ok=True)
        else:
            return True
    return False


def _beat(path: Path, done: threading.Event) -> None:
    while not done.wait(_HEARTBEAT):
        with contextlib.suppress(OSError):
            os.utime(path)


def _owner() -> dict[str, Any]:
    process = psutil.Process()
    return {"machine": _machine(), "process": process.pid, "started": process.create_time()}


def _machine() -> str:
    """Name the machine; of containers, each one."""
    space = ""
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{socket.gethostname()} {space}".strip()


def _is_running(owner: dict[str, Any]) -> bool:
    with contextlib.suppress(psutil.Error, KeyError, TypeError, ValueError):
        return bool(abs(psutil.Process(int(owner["process"])).create_time() - owner["started"]) < 1)
    return False


def _age(path: Path) -> float:
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime
    return 0.0


def _busy(folder: Path) -> OutputError:
    return OutputError(
        f"{folder.name} is being written by another run: wait for it, or choose another name"
    )
