"""From an image in a file to its result in a file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_hrsr.api import drain
from napari_hrsr.errors import OutputError, ResumeError
from napari_hrsr.file_planning import Settings, name_task, plan_file, settle_file
from napari_hrsr.file_results import Report, check_paths, into_file
from napari_hrsr.files import check_output, is_zarr_name, read_image
from napari_hrsr.files.ome_zarr import partial_name
from napari_hrsr.files.ome_zarr_axes import stored_axes
from napari_hrsr.jobs import Job, describe_job, start_job
from napari_hrsr.metadata import ImageMetadata
from napari_hrsr.runs.folder import (
    claim_folder,
    clear_folder,
    count_written,
    is_unfinished,
    sweep_folder,
)
from napari_hrsr.runs.leading import (
    Compute,
    compute_here,
    compute_missing,
    explained,
    finish_file,
)
from napari_hrsr.runs.locks import held
from napari_hrsr.runs.manifest import read_manifest
from napari_hrsr.runs.stored import begin_run, reopen_run
from napari_hrsr.watching import Watched

_LARGE = 32 << 20
"""Bytes from which a result is written so that its run can be resumed, whatever its format."""


@dataclass(frozen=True, slots=True)
class Execution:
    """How a run is carried out; none of it changes the result.

    Attributes
    ----------
    resume : bool
        Go on with a run that did not get to its end; begin it where there is
        none; leave a result that is complete as it is.
    restart : bool
        Throw away what such a run has written.
    compute : callable
        What computes the units: this process, or a cluster.
    """

    resume: bool = False
    restart: bool = False
    compute: Compute = compute_here


def upscale_file(
    source: Path,
    target: Path,
    settings: Settings,
    *,
    execution: Execution | None = None,
    report: Report = lambda what, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Upscale an image in a file into a file, in flat memory.

    The result is written unit by unit into a folder beside it, which outlives
    the process: see the package `runs`. Small results in formats other than
    OME-Zarr are made in memory.

    Parameters
    ----------
    source, target : Path
        The suffix of `target` says its format.
    settings : Settings
        What the user chose.
    execution : Execution, optional
        How it is carried out; by default by this process, from the beginning.
    report : callable
        Called with what is being done, and how many parts are done of how
        many.
    cancelled : callable
        Polled between tiles.

    Returns
    -------
    dict
        The record of how the result was made.

    Raises
    ------
    PausedError
        If it was cancelled after units were written: they are kept.
    HrsrError
        With what is wrong and what to do about it.
    """
    way = execution or Execution()
    folder = partial_name(target)
    if way.resume and target.exists() and not (settings.overwrite and is_unfinished(folder)):
        sweep_folder(folder)
        return read_image(target).record or {}
    check_paths(source, target, overwrite=settings.overwrite)
    if not folder.exists() and way.compute is compute_here:
        image = read_image(source)
        job, metadata = plan_file(image.data, image.metadata, settings)
        check_output(target, metadata, job.dtype)
        if not _worth_storing(target, job, metadata):
            run = functools.partial(
                _run, job, settings=settings, name=image.name, report=report, cancelled=cancelled
            )
            return into_file(
                target,
                job,
                metadata,
                run,
                overwrite=settings.overwrite,
                report=report,
                cancelled=cancelled,
            )
    with claim_folder(folder), explained(folder), held(folder, "run"):
        _check_unfinished(folder, way)
        if read_manifest(folder) is None:
            stored = begin_run(folder, source, target, settings, report=report, cancelled=cancelled)
        else:
            stored = reopen_run(folder, source=source, settings=settings)
        compute_missing(stored, compute=way.compute, report=report, cancelled=cancelled)
        return finish_file(
            stored, target, overwrite=settings.overwrite, report=report, cancelled=cancelled
        )


def _worth_storing(target: Path, job: Job, metadata: ImageMetadata) -> bool:
    if is_zarr_name(target):
        return True
    try:
        stored_axes(metadata.axes)
    except OutputError:
        return False
    return job.nbytes >= _LARGE


def _run(
    job: Job,
    out: Any,
    *,
    settings: Settings,
    name: str,
    report: Report,
    cancelled: Callable[[], bool],
) -> dict[str, Any]:
    """Run a job in one go."""
    job, intensity = settle_file(job, settings, report=report, cancelled=cancelled)
    seen = Watched(job)
    drain(
        seen.through(start_job(job, out, intensity, cancelled=cancelled)),
        job.total,
        functools.partial(report, name_task(job)),
    )
    return seen.added_to(describe_job(job, intensity, source_name=name))


def _check_unfinished(folder: Path, way: Execution) -> None:
    """Refuse to throw away what an earlier run has written, unless asked to."""
    if way.restart:
        clear_folder(folder)
    elif not way.resume:
        done = count_written(folder)
        if done:
            msg = (
                f"{folder.name} holds an unfinished run with {done} blocks written: "
                "go on with it, with --resume, or begin anew, with --restart"
            )
            raise ResumeError(msg)
        clear_folder(folder)
