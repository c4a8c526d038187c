from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from napari_hrsr.errors import OutputError
from napari_hrsr.runs import locks
from napari_hrsr.runs.locks import held, is_live, tried


def owner(machine: str, process: int, started: float) -> str:
    return json.dumps({"machine": machine, "process": process, "started": started})


def test_a_lock_is_held_once_and_released(tmp_path: Path) -> None:
    with held(tmp_path, "run"):
        with pytest.raises(OutputError, match="another run"), held(tmp_path, "run"):
            pass
        with tried(tmp_path, "run") as mine:
            assert not mine
        with tried(tmp_path, "setup") as mine:
            assert mine
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path, "run"):
        pass


def test_a_lock_that_is_released_at_this_moment_is_not_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_created", lambda path: False)
    with tried(tmp_path, "setup") as mine:
        assert not mine


def test_parts_exclude_whole_runs_but_not_each_other(tmp_path: Path) -> None:
    with (
        held(tmp_path, "part-1-of-2", against="run.lock"),
        held(tmp_path, "part-2-of-2", against="run.lock"),
        pytest.raises(OutputError, match="another run"),
        held(tmp_path, "run"),
    ):
        pass
    with (
        held(tmp_path, "run"),
        pytest.raises(OutputError),
        held(tmp_path, "part-1-of-2", against="run.lock"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_process_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = psutil.Process(child.pid).create_time()
    lock = tmp_path / "run.lock"
    lock.write_text(owner(locks._machine(), child.pid, started))
    assert is_live(lock)
    with pytest.raises(OutputError), held(tmp_path, "run"):
        pass
    child.kill()
    child.communicate()
    assert not is_live(lock)
    with held(tmp_path, "run"):
        assert json.loads(lock.read_text())["process"] == os.getpid()


def test_a_process_that_got_the_number_of_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    lock.write_text(owner(locks._machine(), os.getpid(), time.time() - 1e6))
    assert not is_live(lock)


def test_another_machine_is_alive_as_long_as_its_heart_beats(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    lock.write_text(owner(f"not-{socket.gethostname()}", 1, 0.0))
    assert is_live(lock)
    long_ago = time.time() - 3600
    os.utime(lock, (long_ago, long_ago))
    assert not is_live(lock)
