"""What leads a run to its end: missing units computed, the result finished, failures told."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from napari_hrsr.errors import CancelledError, HrsrError, PausedError, ResumeError
from napari_hrsr.file_planning import name_task
from napari_hrsr.file_results import Report
from napari_hrsr.files import is_zarr_name, write_image
from napari_hrsr.files.partial import check_space
from napari_hrsr.runs.computing import compute_units, tiles_in
from napari_hrsr.runs.folder import count_written, remove_folder
from napari_hrsr.runs.stored import StoredRun, finish_image, needed_space
from napari_hrsr.runs.units import Part

Compute = Callable[[StoredRun, list[int], Callable[[int], None], Callable[[], bool]], None]
"""Computes units of a run, tells how many tiles each step has written, and polls."""


def compute_here(
    run: StoredRun, units: list[int], add: Callable[[int], None], cancelled: Callable[[], bool]
) -> None:
    """Compute units in this process; a `Compute`."""
    for _ in compute_units(run, units, cancelled=cancelled):
        add(1)


def compute_missing(
    run: StoredRun,
    part: Part | None = None,
    compute: Compute = compute_here,
    *,
    report: Report,
    cancelled: Callable[[], bool],
) -> None:
    """Compute the units of a run, or of a part of it, that are missing.

    Parameters
    ----------
    run : StoredRun
        The run.
    part : Part, optional
        Which units; by default all.
    compute : callable
        What computes them.
    report, cancelled : callable
        As for `upscale_file.upscale_file`.

    Raises
    ------
    CancelledError
        If it was cancelled.
    HrsrError
        If a unit cannot be computed or written.
    """
    wanted = [unit for unit in range(len(run.units)) if part is None or part.holds(unit)]
    missing = run.unfinished(part, report=report, cancelled=cancelled)
    check_space(run.folder.parent, needed_space(run, len(missing)))
    total = tiles_in(run, wanted)
    done = total - tiles_in(run, missing)
    word = name_task(run.job)
    report(word, done, total)

    def add(tiles: int) -> None:
        nonlocal done
        done += tiles
        report(word, done, total)

    compute(run, missing, add, cancelled)
    if done < total:
        msg = f"cancelled after {done} of {total} tiles"
        raise CancelledError(msg)


def finish_file(
    run: StoredRun,
    target: Path,
    *,
    overwrite: bool,
    report: Report,
    cancelled: Callable[[], bool],
) -> dict[str, Any]:
    """Make the result of a run whose units are all written, and remove its folder.

    Parameters
    ----------
    run : StoredRun
        The run.
    target : Path
        The suffix says its format.
    overwrite : bool
        Replace an existing result.
    report, cancelled : callable
        As for `upscale_file.upscale_file`.

    Returns
    -------
    dict
        The record of how the result was made.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    if is_zarr_name(target):
        record = finish_image(run, target, overwrite=overwrite, cancelled=cancelled)
    else:
        record = run.record()
        run.store.check_written()
        write_image(
            target,
            run.store.array,
            run.metadata,
            record=record,
            progress=functools.partial(report, "Writing"),
            cancelled=cancelled,
        )
    remove_folder(run.folder)
    return record


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Say of a run that ends early what is kept of it.

    Parameters
    ----------
    folder : Path
        Of the run.
    """
    try:
        yield
    except HrsrError as error:
        done = count_written(folder)
        if not done or isinstance(error, PausedError | ResumeError):
            raise
        kept = f"{done} blocks are kept in {folder.name}: go on with --resume"
        if isinstance(error, CancelledError):
            msg = f"{error}; {kept}, or delete that folder"
            raise PausedError(msg) from None
        error.args = (f"{error} ({kept})",)
        raise
