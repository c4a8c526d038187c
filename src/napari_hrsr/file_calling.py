"""From file to file, from Python: what the command line does, as one function."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_hrsr.api import Cancelled, Progress, as_callable, showing
from napari_hrsr.cluster import Workers, connected
from napari_hrsr.errors import InputError
from napari_hrsr.file_planning import Settings
from napari_hrsr.forward import Instrument
from napari_hrsr.intensity import Per
from napari_hrsr.jobs import Region
from napari_hrsr.runs.units import parse_part
from napari_hrsr.upscale_file import Execution, upscale_file
from napari_hrsr.upscale_part import upscale_part

_BESIDE = ("Measuring", "Checking", "Writing", "Waiting")
"""What is reported in other parts than tiles."""


def upscale_to_file(
    source: str | Path,
    target: str | Path,
    model: str | Sequence[str] | None = None,
    *,
    axes: str | None = None,
    tile: int | Sequence[int] | None = None,
    device: str | None = None,
    precision: str | None = None,
    intensity: Per | None = None,
    noise: str | float = "auto",
    dtype: Any = None,
    region: Region | None = None,
    consistent: bool | Instrument = False,
    overwrite: bool = False,
    resume: bool = False,
    restart: bool = False,
    part: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    trust_network: bool = False,
    progress: Progress | bool | None = None,
    cancelled: Cancelled | None = None,
) -> dict[str, Any] | None:
    """Upscale an image in a file into a file, in flat memory, in a run that can be resumed.

    Parameters
    ----------
    source, target : str or Path
        TIFF, OME-Zarr, NIfTI, DICOM, PNG or JPEG; the suffix of `target` says its format.
    model : str or sequence of str, optional
        A name from ``list_models()`` or a file, or several that run one after another.
    axes, tile, device, precision, intensity, noise, dtype, region
        As for `upscale`.
    consistent : bool or Instrument
        Hold the result to the image; True: pixels integrate over their area.
    overwrite : bool
        Replace an existing result.
    resume : bool
        Go on with a run that was stopped or killed; begin it where there is
        none; leave a complete result as it is.
    restart : bool
        Throw away what such a run has written.
    part : str, optional
        Compute only this share, for example ``"2/8"``; whoever writes the last
        block finishes the result.
    workers : int, optional
        Compute in so many processes on this machine.
    scheduler : str, optional
        Compute on the workers of this dask scheduler.
    trust_network : bool
        Allow a scheduler on another machine without TLS.
    progress : callable or bool, optional
        As for `upscale`.
    cancelled : threading.Event or callable, optional
        As for `upscale`.

    Returns
    -------
    dict or None
        The record of how the result was made; None if other parts of it are
        still missing.

    Raises
    ------
    PausedError
        If it was cancelled after blocks were written: they are kept.
    HrsrError
        With what is wrong and what to do about it.
    """
    settings = Settings(
        model=model,
        axes=axes,
        tile=tile,
        device=device,
        precision=precision,
        noise=_level(noise),
        intensity=intensity,
        dtype=dtype,
        consistent=Instrument() if consistent is True else consistent or None,
        region=None if region is None else tuple(region),
        overwrite=overwrite,
    )
    stop = as_callable(cancelled)
    clustered = workers is not None or scheduler is not None
    if part is not None and (clustered or restart):
        msg = "a part is computed by this process and goes on with what is there: give it alone"
        raise InputError(msg)
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(showing(progress, "Upscaling"))

        def report(what: str, done: int, total: int) -> None:
            if not what.startswith(_BESIDE):
                shown(done, total)

        paths = Path(source), Path(target)
        if part is not None:
            share = parse_part(part)
            return upscale_part(*paths, settings, share, report=report, cancelled=stop)
        way = Execution(resume, restart)
        if clustered:
            hands = Workers(workers, scheduler, plain=trust_network)
            way = Execution(resume, restart, stack.enter_context(connected(hands)))
        return upscale_file(*paths, settings, execution=way, report=report, cancelled=stop)


def _level(noise: str | float) -> float | None:
    if noise == "auto":
        return None
    try:
        return float(noise)
    except ValueError:
        msg = f"noise is 'auto' or a standard deviation from 0 up, got {noise!r}"
        raise InputError(msg) from None
