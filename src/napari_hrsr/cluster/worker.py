"""The side that computes: a worker opens the run by its path, then does unit after unit."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from napari_hrsr.errors import InputError
from napari_hrsr.runs.computing import UnitDone, run_unit
from napari_hrsr.runs.manifest import FILE
from napari_hrsr.runs.stored import StoredRun, reopen_run


@dataclass
class _Opened:
    """The run that this worker has opened last: once, however many units it computes."""

    folder: str = ""
    token: str = ""
    run: StoredRun | None = None


_opened = _Opened()


def compute_unit(folder: str, unit: int, threads: int | None) -> UnitDone:
    """Compute a unit on a worker.

    Parameters
    ----------
    folder : str
        Of the run.
    unit : int
        Its number.
    threads : int or None
        How many the worker may use; None leaves this to torch.

    Raises
    ------
    HrsrError
        If the worker does not see the run, or cannot compute or write the unit.
    """
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
