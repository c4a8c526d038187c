"""Workers are found or started, and leave when they are no longer needed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

from napari_hrsr.cluster.leader import Leader
from napari_hrsr.cluster.workers import Workers, check_workers
from napari_hrsr.errors import InputError
from napari_hrsr.runs.leading import Compute
from napari_hrsr.runs.stored import StoredRun


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
                Leader(client, run, workers, add, cancelled).lead(units)

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
