"""The units of a run on dask.distributed.

What is sent are numbers of units: workers open the run by its path, read the
source and write the result themselves. A few units per worker are under way
at a time, so that the scheduler never holds a large graph::

    this process --unit 17--> scheduler --unit 17--> worker --chunks--> disk
                 <--done, 2.1 s--------------------------'

A worker that dies costs the unit that it was computing.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import logging
import math
import os
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from napari_hrsr.errors import (
    ComputeError,
    HrsrError,
    InputError,
    OutOfMemoryError,
)
from napari_hrsr.runs.computing import STOP, UnitDone, ask_to_stop, run_unit
from napari_hrsr.runs.leading import Compute
from napari_hrsr.runs.manifest import FILE
from napari_hrsr.runs.stored import StoredRun, reopen_run

_WINDOW = 3
"""Units under way per worker: one computed, the others on their way."""

_ATTEMPTS = 3
_POLL = 0.2
_COUNT_AGAIN = 2.0
_GRACE = 60.0
"""Seconds that workers are given to stop between two tiles."""

_PATIENCE = 600.0
_SLOWER = 20.0
"""A unit that takes longer than this many times the longest so far is taken to hang."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Who computes.

    Attributes
    ----------
    local : int or None
        Start so many processes on this machine.
    scheduler : str or None
        Or use the workers of the scheduler at this address, for example
        ``"tls://10.0.0.5:8786"``.
    plain : bool
        Allow an address of another machine without TLS: whoever reaches such
        a scheduler can run code on its workers.
    patience : float
        Seconds without a finished unit after which the run is given up.
    """

    local: int | None = None
    scheduler: str | None = None
    plain: bool = False
    patience: float = _PATIENCE


def check_workers(workers: Workers) -> None:
    """Refuse, before any work, what cannot be meant.

    Parameters
    ----------
    workers : Workers
        Who computes.

    Raises
    ------
    InputError
        If both or neither is given, there would be no worker, the address is
        none, or it is of another machine and not encrypted.
    """
    if (workers.local is None) == (workers.scheduler is None):
        msg = "give either a number of workers on this machine or the address of a scheduler"
        raise InputError(msg)
    if workers.local is not None and workers.local < 1:
        msg = f"the number of workers is 1 or more, got {workers.local}"
        raise InputError(msg)
    if workers.scheduler is None:
        return
    address = urlsplit(workers.scheduler)
    if address.scheme not in ("tcp", "tls", "ucx") or not address.hostname:
        msg = (
            f"{workers.scheduler!r} is no address of a scheduler: "
            "it looks like tls://10.0.0.5:8786 or tcp://127.0.0.1:8786"
        )
        raise InputError(msg)
    if address.scheme != "tls" and not workers.plain and not _is_loopback(address.hostname):
        msg = (
            f"{workers.scheduler} is on another machine and not encrypted: whoever reaches it can "
            "run programs on the workers. Start it with TLS and give its tls:// address, or say "
            "that this network is trusted"
        )
        raise InputError(msg)


@contextlib.contextmanager
def connected(workers: Workers) -> Iterator[Compute]:
    """Find or start the workers, once there is something to compute.

    Parameters
    ----------
    workers : Workers
        Who computes.

    Yields
    ------
    callable
        Computes units of a run, for `upscale_file.Execution`; may be called for one
        run after another. It raises InputError if no scheduler answers.

    Raises
    ------
    InputError
        If dask.distributed is not installed, or see `check_workers`.
    """
    check_workers(workers)
    distributed = _imported()
    with contextlib.ExitStack() as stack:
        client: Any = None

        def compute(
            run: StoredRun,
            units: list[int],
            add: Callable[[int], None],
            cancelled: Callable[[], bool],
        ) -> None:
            nonlocal client
            if units:
                client = client or _start(distributed, workers, stack)
                _Leader(client, run, workers, add, cancelled).lead(units)

        yield compute


def _start(distributed: Any, workers: Workers, stack: contextlib.ExitStack) -> Any:
    """Return a client of the workers, which ends with the stack."""
    target: Any = workers.scheduler
    if workers.local is not None:
        stack.enter_context(_short_logs())
        target = stack.enter_context(
            distributed.LocalCluster(
                n_workers=workers.local,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                # What a tile takes was planned; workers are not killed for it.
                memory_limit=0,
                silence_logs=logging.CRITICAL,
            )
        )
    elif str(target).startswith("tls://"):
        _check_certificates(distributed)
    try:
        return stack.enter_context(distributed.Client(target, set_as_default=False))
    except (OSError, TimeoutError, TypeError, ValueError) as error:
        msg = f"no scheduler answers at {workers.scheduler}: {error}"
        raise InputError(msg) from error


def _check_certificates(distributed: Any) -> None:
    """Refuse an encrypted scheduler for which there are no certificates."""
    if distributed.Security().get_connection_args("client").get("ssl_context") is None:
        msg = (
            "a tls:// scheduler needs certificates: set distributed.comm.tls.ca-file, client.cert "
            "and client.key in dask's configuration, for example by the variables "
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ...__TLS__CLIENT__CERT and ...__CLIENT__KEY"
        )
        raise InputError(msg)


class _Leader:
    """Hands out the units of one run, a few at a time."""

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
            _compute_unit,
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


@dataclass
class _Opened:
    """The run that this worker has opened last: once, however many units it computes."""

    folder: str = ""
    token: str = ""
    run: StoredRun | None = None


_opened = _Opened()


def _compute_unit(folder: str, unit: int, threads: int | None) -> UnitDone:
    """Compute a unit on a worker."""
    path = Path(folder)
    if not path.exists():
        msg = f"a worker cannot see {folder}: write the result where all workers can"
        raise InputError(msg)
    token = hashlib.sha256((path / FILE).read_bytes()).hexdigest()
    if _opened.run is None or (_opened.folder, _opened.token) != (folder, token):
        if threads is not None:
            torch.set_num_threads(threads)
        _opened.run = _on_own_gpu(reopen_run(path))
        _opened.folder, _opened.token = folder, token
    return run_unit(_opened.run, unit)


def _on_own_gpu(run: StoredRun) -> StoredRun:
    """Move a run to the GPU of this worker."""
    from distributed import get_worker

    device = _own_gpu(get_worker().name)
    if device is None or run.job.placement.device.type != device.type:
        return run
    placement = replace(run.job.placement, device=device)
    return replace(run, job=replace(run.job, placement=placement))


def _own_gpu(name: Any) -> torch.device | None:
    """Return the GPU of a worker that was started here beside others, one each."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count < 2 or not isinstance(name, int) or "CUDA_VISIBLE_DEVICES" in os.environ:
        return None
    return torch.device("cuda", name % count)


def _imported() -> Any:
    try:
        import distributed
    except ImportError as error:
        msg = (
            "workers need dask.distributed, which is not installed: "
            "pip install 'napari-hrsr[cluster]'"
        )
        raise InputError(msg) from error
    return distributed


@contextlib.contextmanager
def _short_logs() -> Iterator[None]:
    """Keep the scheduler's own log of workers that come and go out of the terminal."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
