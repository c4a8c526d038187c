"""A share of a run, without a scheduler: for job arrays, and machines that share a disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_hrsr.errors import HrsrError
from napari_hrsr.file_planning import Settings
from napari_hrsr.file_results import Report, check_paths
from napari_hrsr.files import read_image
from napari_hrsr.files.ome_zarr import partial_name
from napari_hrsr.files.partial import check_cancelled
from napari_hrsr.runs.folder import claim_folder
from napari_hrsr.runs.leading import compute_missing, explained, finish_file
from napari_hrsr.runs.locks import held, tried
from napari_hrsr.runs.manifest import read_manifest
from napari_hrsr.runs.stored import StoredRun, begin_run, reopen_run
from napari_hrsr.runs.units import Part

_POLL = 0.5


def upscale_part(
    source: Path,
    target: Path,
    settings: Settings,
    part: Part,
    *,
    report: Report = lambda what, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Any] | None:
    """Compute every so many-th unit of a result.

    All parts may run at once, on one machine or on several that see the same
    files. Whichever is first measures the image; whichever writes the last
    unit finishes the result. A part that was killed is simply run again.

    Parameters
    ----------
    source, target : Path
        As for `upscale_file.upscale_file`, for all parts the same.
    settings : Settings
        What the user chose, for all parts the same.
    part : Part
        Which one.
    report, cancelled : callable
        As for `upscale_file.upscale_file`.

    Returns
    -------
    dict or None
        The record of how the result was made; None if other parts of it are
        still missing.

    Raises
    ------
    HrsrError
        As for `upscale_file.upscale_file`.
    """
    if target.exists():
        return read_image(target).record
    try:
        return _shared(source, target, settings, part, report, cancelled)
    except (HrsrError, OSError):
        # Another part has finished the result, and with it went the folder.
        if not target.exists():
            raise
        return read_image(target).record


def _shared(
    source: Path,
    target: Path,
    settings: Settings,
    part: Part,
    report: Report,
    cancelled: Callable[[], bool],
) -> dict[str, Any] | None:
    """Compute a part, and finish the result if it is the last one."""
    check_paths(source, target, overwrite=settings.overwrite)
    folder = partial_name(target)
    name = f"part-{part.number}-of-{part.count}"
    with (
        claim_folder(folder),
        explained(folder),
        held(folder, name, against="run.lock"),
    ):
        if target.exists():
            return read_image(target).record
        run = _joined(folder, source, target, settings, report, cancelled)
        compute_missing(run, part, report=report, cancelled=cancelled)
        if run.ledger.count() < len(run.units):
            return None
        with tried(folder, "finish") as mine:
            if not mine or target.exists():
                return None
            return finish_file(
                run, target, overwrite=settings.overwrite, report=report, cancelled=cancelled
            )


def _joined(
    folder: Path,
    source: Path,
    target: Path,
    settings: Settings,
    report: Report,
    cancelled: Callable[[], bool],
) -> StoredRun:
    """Open a run that another part has begun, or begin it; whoever is first measures."""
    while read_manifest(folder) is None:
        with tried(folder, "setup") as mine:
            if mine and read_manifest(folder) is None:
                return begin_run(
                    folder, source, target, settings, report=report, cancelled=cancelled
                )
        check_cancelled(cancelled)
        report("Waiting for the part that measures the image", 0, 1)
        time.sleep(_POLL)
    return reopen_run(folder, source=source, settings=settings)
