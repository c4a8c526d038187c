"""Results in files: where they may go, and that they are complete or not there."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from napari_hrsr.api import check_memory
from napari_hrsr.errors import InputError, OutputError
from napari_hrsr.files import (
    OmeZarrResult,
    check_output,
    is_zarr_name,
    temporary_result,
    write_image,
)
from napari_hrsr.jobs import Job
from napari_hrsr.metadata import ImageMetadata

Report = Callable[[str, int, int], None]
"""Called with what is being done, and how many parts are done of how many."""


def check_paths(source: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse a result that would replace its source, or what nobody allowed it to.

    Parameters
    ----------
    source, target : Path
        Files.
    overwrite : bool
        Whether an existing result may be replaced.

    Raises
    ------
    OutputError
        If it must not be written there.
    """
    if target.exists():
        if target.samefile(source):
            msg = "the result would replace its source: choose another name"
            raise OutputError(msg)
        if not overwrite:
            msg = f"{target.name} exists: choose another name, or allow it to be overwritten"
            raise OutputError(msg)
    check_output(target)


def into_file(
    target: Path,
    job: Job,
    metadata: ImageMetadata,
    run: Callable[[Any], dict[str, Any]],
    *,
    overwrite: bool,
    report: Report,
    cancelled: Callable[[], bool],
) -> dict[str, Any]:
    """Run a job into a file; nothing is left of one that is not complete.

    Parameters
    ----------
    target : Path
        The suffix says its format.
    job : Job
        The run.
    metadata : ImageMetadata
        Of the result.
    run : callable
        Takes an array to write into, and returns the record.
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
    HrsrError
        If it cannot be written.
    """
    if is_zarr_name(target):
        with OmeZarrResult(
            target,
            shape=job.shape,
            dtype=job.dtype,
            chunks=job.chunks,
            metadata=metadata,
            overwrite=overwrite,
        ) as result:
            record = run(result.array)
            result.finish(record, cancelled)
        return record
    with contextlib.ExitStack() as stack:
        try:
            check_memory(job)
        except InputError:
            out: Any = stack.enter_context(
                temporary_result(target.parent, job.shape, job.dtype, job.chunks)
            )
        else:
            out = np.zeros(job.shape, job.dtype)
        record = run(out)
        write_image(
            target,
            out,
            metadata,
            record=record,
            progress=functools.partial(report, "Writing"),
            cancelled=cancelled,
        )
    return record
