"""What people call: upscale an array, or a napari layer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.files import OmeZarrResult
from napari_hrsr.files.partial import check_folder, check_space
from napari_hrsr.forward import ForwardModel
from napari_hrsr.intensity import Intensity, Per, check_values, measure_intensity, wanted_levels
from napari_hrsr.jobs import Job, Region, describe_job, plan_job, start_job
from napari_hrsr.layers import is_layer, layer_axes, layer_metadata, layer_source, result_attributes
from napari_hrsr.memory import free_memory
from napari_hrsr.metadata import ImageMetadata, plain_metadata, upscaled_metadata
from napari_hrsr.models.describing import doing
from napari_hrsr.models.load import ModelChoice
from napari_hrsr.pixels import check_source
from napari_hrsr.projection_weight import settle_projection
from napari_hrsr.upscaling import TileDone
from napari_hrsr.watching import Watched

Progress = Callable[[int, int], None]
Cancelled = threading.Event | Callable[[], bool]

_MEMORY_SHARE = 0.9


def upscale(
    image: Any,
    model: ModelChoice | None = None,
    *,
    axes: str | None = None,
    tile: int | Sequence[int] | None = None,
    device: str = "auto",
    precision: str = "auto",
    intensity: Per | Intensity | None = None,
    noise: str | float = "auto",
    out: Any = None,
    dtype: Any = None,
    region: Region | None = None,
    consistent: bool | ForwardModel = False,
    progress: Progress | bool | None = None,
    cancelled: Cancelled | None = None,
) -> Any:
    """Upscale an image, tile by tile, at any size.

    Parameters
    ----------
    image : array-like or napari Image layer
        Two axes (Y, X), three (Z, Y, X), or more with `axes`. numpy, memory
        map, zarr or dask; integers or floating point. It is never changed.
    model : str, Path, Upscaler or a sequence of them, optional
        A model, a name from ``list_models()``, or a file that napari-hrsr
        wrote. Several run one after another as one job, for example
        ``["denoise-2d", "general-2d-x2"]``; nothing between them is stored.
        By default the x2 model that ships for 2D or 3D.
    axes : str, optional
        One letter per axis: T time, C channel, Z Y X space, S the samples of
        RGB or RGBA. Axes other than the model's spatial ones are looped over.
    tile : int or sequence of int, optional
        Longest tile in source pixels, without its halo. The result does not
        depend on it; speed and memory do. By default the fastest.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    precision : str
        ``"auto"`` (float32), ``"float32"``, ``"bfloat16"`` or ``"float16"``.
    intensity : {"channel", "image", "frame"} or Intensity, optional
        What shares one measurement of range and noise: each channel
        (default), the whole image, or each channel and time point.
    noise : "auto" or float
        Standard deviation of the image's noise in its own units; measured by
        default. 0 tells the model that the image is clean.
    out : array-like, str or Path, optional
        Where to write the result: an array of the right shape, or the path of
        an OME-Zarr to create. By default a new numpy array.
    dtype : optional
        Data type of the result, by default the image's. Values are rounded
        and clipped to it.
    region : sequence of (int, int) or None, optional
        Upscale only this part: first and one past the last pixel per axis, or
        None for the whole axis. Equal to that part of the whole result.
    consistent : bool or ForwardModel
        Hold the result to the image: degraded again, a clean image's result
        equals the image to rounding, a noisy one's agrees with it to within
        its noise. True: pixels integrate over their area. A `ForwardModel`
        with the model's factor says otherwise, for example with the width of
        the blur; tiles are then read with a wider margin.
    progress : callable or bool, optional
        Called with the number of tiles done and in total after each tile;
        True shows a bar in the terminal.
    cancelled : threading.Event or callable, optional
        Set it, or return True, to stop between two tiles.

    Returns
    -------
    array
        `out`, the new zarr array, or a new numpy array.

    Raises
    ------
    HrsrError
        With what is wrong and what to do about it, before any work starts.
    CancelledError
        If `cancelled` stopped the run.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_hrsr import upscale
    >>> upscale(np.zeros((30, 40), np.uint16), "cubic-2x2").shape
    (60, 80)
    """
    layer = image if is_layer(image) else None
    if layer is not None:
        axes = layer_axes(layer, axes, model)
        image = layer_source(layer)
    job = plan_job(
        image,
        model,
        axes=axes,
        tile=tile,
        device=device,
        precision=precision,
        dtype=dtype,
        region=region,
        consistent=consistent,
    )
    data, _ = _run(job, layer, intensity, noise, out, progress, cancelled)
    return data


def upscale_layer(
    layer: Any,
    model: ModelChoice | None = None,
    *,
    region: Region | None = None,
    axes: str | None = None,
    tile: int | Sequence[int] | None = None,
    device: str = "auto",
    precision: str = "auto",
    intensity: Per | Intensity | None = None,
    noise: str | float = "auto",
    out: Any = None,
    dtype: Any = None,
    consistent: bool | ForwardModel = False,
    progress: Progress | bool | None = None,
    cancelled: Cancelled | None = None,
) -> tuple[Any, dict[str, Any], str]:
    """Upscale a napari Image layer into data for a new one that lies exactly on it.

    Parameters
    ----------
    layer : napari.layers.Image
        The source. It is not changed. Of a multiscale layer the finest level
        is taken.
    model : str, Path, Upscaler or a sequence of them, optional
        As for `upscale`.
    region : sequence of (int, int) or None, optional
        As for `upscale`, per axis of the layer's data.
    axes, tile, device, precision, intensity, noise, out, dtype, consistent, progress, cancelled
        As for `upscale`. Axes are taken from the layer's axis labels where
        these say z, y and x.

    Returns
    -------
    (data, attributes, "image")
        What ``viewer.add_layer(napari.layers.Layer.create(*result))`` takes.

    Raises
    ------
    InputError
        If it is no Image layer.
    HrsrError
        As for `upscale`.
    """
    if not is_layer(layer):
        what = type(layer).__name__
        msg = f"upscale_layer takes a napari layer, got {what}; use upscale for arrays"
        raise InputError(msg)
    job = plan_job(
        layer_source(layer),
        model,
        axes=layer_axes(layer, axes, model),
        tile=tile,
        device=device,
        precision=precision,
        dtype=dtype,
        region=region,
        consistent=consistent,
    )
    data, record = _run(job, layer, intensity, noise, out, progress, cancelled)
    return data, result_attributes(layer, job, record), "image"


def _run(
    job: Job,
    layer: Any,
    intensity: Per | Intensity | None,
    noise: str | float,
    out: Any,
    progress: Progress | bool | None,
    cancelled: Cancelled | None,
) -> tuple[Any, dict[str, Any]]:
    """Run a job to its end; return the result and the record of how it was made."""
    job, metadata = fit_output(job, layer, out)
    name = "" if layer is None else str(layer.name)
    stop = as_callable(cancelled)
    with contextlib.ExitStack() as stack:
        report = stack.enter_context(showing(progress, doing(job.model.spec)))
        # First, so that a path that cannot be used is refused before the image is read.
        target, finish = stack.enter_context(opened_output(out, job, metadata))
        measured = settle_intensity(job, intensity, noise, cancelled=stop)
        job = settle_projection(job, measured, cancelled=stop)
        record = describe_job(job, measured, source_name=name)
        seen = Watched(job)
        tiles = start_job(job, target, measured, cancelled=stop)
        drain(seen.through(tiles), job.total, report)
        record = seen.added_to(record)
        return finish(record, stop), record


def fit_output(job: Job, layer: Any, out: Any) -> tuple[Job, ImageMetadata]:
    """Refuse an output that the result does not fit, and take its data type.

    Parameters
    ----------
    job : Job
        The run.
    layer : napari layer or None
        The source, where it is one.
    out : array-like, str, Path or None
        As for `upscale`.

    Returns
    -------
    job : Job
        With the data type of `out`.
    metadata : ImageMetadata
        Of the source.
    """
    if out is None:
        check_memory(job)
    elif isinstance(out, (str, Path)):
        check_folder(Path(out).absolute().parent)
        check_space(Path(out).absolute().parent, job.nbytes)
    else:
        _check_out(out, job)
        job = replace(job, dtype=np.dtype(out.dtype))
    if layer is None:
        return job, plain_metadata(job.axes.names)
    return job, layer_metadata(layer, job.axes.names)


Finish = Callable[[dict[str, Any], Callable[[], bool]], Any]
"""Called with the record of a complete result, and what to poll; returns the result."""


@contextlib.contextmanager
def opened_output(out: Any, job: Job, metadata: ImageMetadata) -> Iterator[tuple[Any, Finish]]:
    """Open where a result goes; nothing is left of a file that is not finished.

    Parameters
    ----------
    out : array-like, str, Path or None
        As for `upscale`.
    job : Job
        The run.
    metadata : ImageMetadata
        Of the source.

    Yields
    ------
    target : array-like
        What to write into.
    finish : callable
        See `Finish`.
    """
    if isinstance(out, (str, Path)):
        with create_zarr(out, job, metadata) as result:
            yield result.array, result.finish
        return
    target = np.zeros(job.shape, job.dtype) if out is None else out
    yield target, lambda record, cancelled: target


def settle_intensity(
    job: Job,
    intensity: Per | Intensity | None = None,
    noise: str | float = "auto",
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Intensity:
    """Measure what was not given, and check every value of the image.

    Raises
    ------
    InputError
        If the image holds values that cannot be used, or `noise` is neither
        ``"auto"`` nor a number from 0 up.
    """
    level: float | None = None
    if noise != "auto":
        try:
            level = float(noise)
        except (TypeError, ValueError):
            level = -1.0
        if not 0 <= level < float("inf"):
            msg = f"noise is 'auto' or a standard deviation from 0 up, got {noise!r}"
            raise InputError(msg)
    if isinstance(intensity, Intensity):
        _check_intensity(intensity, job)
        check_values(job.source, job.axes, cancelled=cancelled)
        measured = intensity
    else:
        measured = measure_intensity(
            job.source,
            job.axes,
            per=intensity or "channel",
            levels=wanted_levels(job.model.spec),
            progress=progress,
            cancelled=cancelled,
        )
    return measured if level is None else measured.with_noise(level)


def _check_intensity(intensity: Intensity, job: Job) -> None:
    lengths = job.axes.pick_looped(job.source.shape)
    wanted = wanted_levels(job.model.spec)
    if intensity.levels != wanted:
        msg = (
            f"the intensity was measured as {intensity.levels or 'mean and deviation'}, model "
            f"{job.model.spec.name!r} wants {wanted or 'mean and deviation'}: measure it again"
        )
        raise InputError(msg)
    given = intensity.low.shape
    if len(given) != len(lengths) or any(
        k not in (1, n) for k, n in zip(given, lengths, strict=True)
    ):
        msg = (
            f"the intensity was measured for looped axes of lengths {given}, "
            f"the image's are {lengths}: measure it again"
        )
        raise InputError(msg)


def create_zarr(path: str | Path, job: Job, metadata: ImageMetadata) -> OmeZarrResult:
    """Create the OME-Zarr that a job's result is written into.

    Raises
    ------
    OutputError
        If the path exists, or the disk is too small.
    """
    return OmeZarrResult(
        Path(path),
        shape=job.shape,
        dtype=job.dtype,
        chunks=job.chunks,
        metadata=upscaled_metadata(metadata, job.factor, job.origin),
    )


def check_memory(job: Job) -> None:
    """Refuse a result that does not fit in memory.

    Raises
    ------
    InputError
        With the size, and the way around it.
    """
    free = free_memory()
    if job.nbytes > _MEMORY_SHARE * free:
        shape = " x ".join(map(str, job.shape))
        msg = (
            f"the result ({shape}, {job.nbytes / 1e9:.1f} GB) does not fit in memory "
            f"({free / 1e9:.1f} GB free): write it to disk, with out='result.ome.zarr', "
            "or choose a region"
        )
        raise InputError(msg)


def drain(tiles: Iterator[TileDone], total: int, report: Progress) -> None:
    """Run a job to its end.

    Raises
    ------
    CancelledError
        If it stopped before.
    """
    done = 0
    for record in tiles:
        done = record.done
        report(done, total)
    if done < total:
        msg = f"cancelled after {done} of {total} tiles"
        raise CancelledError(msg)


def as_callable(cancelled: Cancelled | None) -> Callable[[], bool]:
    """Turn an event, a callable or nothing into a callable."""
    if cancelled is None:
        return lambda: False
    if isinstance(cancelled, threading.Event):
        return cancelled.is_set
    return cancelled


def _check_out(out: Any, job: Job) -> None:
    check_source(out)
    if tuple(out.shape) != job.shape:
        msg = f"out has shape {tuple(out.shape)}, the result needs {job.shape}"
        raise InputError(msg)
    if not hasattr(out, "__setitem__") or hasattr(out, "dask"):
        msg = "out must be a numpy or zarr array, or a path: dask arrays cannot be written to"
        raise InputError(msg)
    if isinstance(out, np.ndarray) and not out.flags.writeable:
        msg = "out is read-only"
        raise InputError(msg)
    both = isinstance(out, np.ndarray) and isinstance(job.source, np.ndarray)
    if both and np.may_share_memory(out, job.source):
        msg = "out is the image itself: the image must not change while it is read"
        raise InputError(msg)


@contextlib.contextmanager
def showing(progress: Progress | bool | None, what: str) -> Iterator[Progress]:
    """Yield what to report to: the caller's own, a bar in the terminal, or nothing.

    Parameters
    ----------
    progress : callable or bool, optional
        As for `upscale`.
    what : str
        What the bar says is done.
    """
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
