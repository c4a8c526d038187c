"""Who computes a run, and what cannot be meant."""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from napari_hrsr.errors import InputError

_PATIENCE = 600.0


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


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
