"""What people call in Python: make an array or a layer isotropic."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_hrsr.api import Cancelled, as_callable, fit_output, opened_output
from napari_hrsr.errors import InputError
from napari_hrsr.files import is_zarr_name
from napari_hrsr.files.ome_zarr import check_target
from napari_hrsr.isotropic.axial_model import AxialModel
from napari_hrsr.isotropic.measuring import Measured, Wishes
from napari_hrsr.isotropic.reporting import describe_restoration
from napari_hrsr.isotropic.running import (
    Choices,
    Report,
    isotropic_attributes,
    layer_spacing,
    make_wishes,
    map_doubt,
    prepare,
    rehearse,
    restoration_job,
    restore,
)
from napari_hrsr.jobs import Job
from napari_hrsr.layers import is_layer, layer_axes, layer_source


def make_isotropic(
    volume: Any,
    spacing: Sequence[float] | None = None,
    *,
    axis: int = 0,
    target: float | Sequence[float] | None = None,
    profile: Any = "gaussian",
    fwhm: float | None = None,
    minutes: float | None = None,
    axes: str | None = None,
    model: AxialModel | str | Path | None = None,
    save_model: str | Path | None = None,
    consistency: str | float = "auto",
    ensemble: bool = False,
    noise: str | float = "auto",
    tile: int | Sequence[int] | None = None,
    device: str = "auto",
    precision: str = "auto",
    dtype: Any = None,
    out: Any = None,
    with_doubt: bool = False,
    seed: int = 0,
    progress: Report | bool | None = None,
    cancelled: Cancelled | None = None,
) -> Any:
    """Refine the coarse axis of a stack, learned from the stack itself.

    A network learns on the slices what fine detail looks like once it is
    recorded as coarsely as the stack is along its coarse axis, and undoes that
    across the slices: on the planes of both orientations, averaged. What the
    slices measured is then put back (see `AxialRestoration`). After Weigert et
    al. (2017) and Zhao et al., SMORE (2021). Detail along the coarse axis is
    inferred: where objects look different along it, it can be wrong.

    ::

        z  |=====|=====|=====|        the first outer edges coincide:
           |==|==|==|==|==|==|        ceil(n * spacing / target) voxels

    Parameters
    ----------
    volume : array-like or napari Image layer
        Axes Z, Y, X, or more with `axes`: numpy, memory map, zarr or dask. It
        is never changed.
    spacing : sequence of float, optional
        Distances of the voxels z, y, x, in any one unit. Not needed of a layer.
    axis : int
        The coarse axis: 0 for z, 1 for y, 2 for x.
    target : float or sequence of float, optional
        Voxel size of the result in the same unit, one number or three; any
        ratio to `spacing`. By default that of the slices' pixels.
    profile : str, Path or array
        What a slice collects: ``"gaussian"``, ``"box"``, or a measured profile
        or image of a point (array, text or image file) sampled as finely as
        the slices' pixels.
    fwhm : float, optional
        Full width at half maximum of the profile, in the unit of `spacing`. By
        default it is estimated from the spectra; where they do not tell, it is
        0.85 of the distance of the slices. Too narrow does little harm, too
        wide makes structure up.
    minutes : float, optional
        How long to learn, by default three.
    axes : str, optional
        One letter per axis: T time, C channel, Z Y X. One network is learned
        from all channels and time points.
    model : AxialModel, str or Path, optional
        A network kept before, for another stack of the same kind: name or
        file. Nothing is learned then.
    save_model : str or Path, optional
        Keep the learned network under this name, or in this file.
    consistency : {"auto", "exact", "none"} or float
        How far the result, sliced again, shall give the measured slices:
        ``"auto"`` exactly where they are clean, less the noisier they are.
    ensemble : bool
        Average over mirrored views too: four times as slow, a little better.
    noise : "auto" or float
        Standard deviation of the noise in the stack's units; 0 for none.
    tile, device, precision, dtype, out
        As for `upscale`.
    with_doubt : bool
        Return, beside the result, where it can be doubted: how far what is
        inferred from the zy and from the zx planes differ (see `doubting`).
        Takes as long as the result.
    seed : int
        Of everything random.
    progress : callable or bool, optional
        Called with what is being done and how many parts are done of how many;
        True shows bars in the terminal.
    cancelled : threading.Event or callable, optional
        Stops learning and restoring.

    Returns
    -------
    array, or a tuple of two
        `out`, the new zarr array, or a new numpy array, of
        ``ceil(length * spacing / target)`` voxels along each axis. With
        `with_doubt` also a float32 array of the same shape, in the stack's units.

    Raises
    ------
    HrsrError
        With what is wrong and what to do about it, before any work starts.
    CancelledError
        If `cancelled` stopped it. A network that was learned by then is kept.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_hrsr import make_isotropic
    >>> make_isotropic(np.zeros((9, 32, 32)), (0.5, 0.5, 0.5))
    Traceback (most recent call last):
    napari_hrsr.errors.InputError: the slices lie 0.5 apart and their pixels 0.5: there is \
nothing to refine. Check the voxel sizes (z, y, x), or name the axis that is coarse
    """
    layer = volume if is_layer(volume) else None
    if layer is not None:
        axes, volume = layer_axes(layer, axes), layer_source(layer)
        spacing = spacing if spacing is not None else layer_spacing(layer, axes)
    if spacing is None:
        msg = "give the voxel sizes of the stack (z, y, x), for example spacing=(3.0, 0.7, 0.7)"
        raise InputError(msg)
    wishes = make_wishes(spacing, axis, target, profile, fwhm, noise)
    choices = Choices(
        model, save_model, minutes, 0, seed, consistency, ensemble, tile, device, precision, dtype
    )
    with reporting(progress) as report:
        stop = as_callable(cancelled)
        done = _run(volume, axes, layer, wishes, choices, out, report, stop)
        if not with_doubt:
            return done.data
        doubt = map_doubt(done.measured, done.model, choices, report, stop)
    return done.data, doubt


def make_isotropic_layer(
    layer: Any,
    *,
    wishes: Wishes | None = None,
    choices: Choices | None = None,
    axes: str | None = None,
    out: Any = None,
    progress: Report | bool | None = None,
    cancelled: Cancelled | None = None,
) -> tuple[Any, dict[str, Any], str]:
    """Make a napari Image layer isotropic, into data for a new one that lies exactly on it.

    Parameters
    ----------
    layer : napari.layers.Image
        The source. It is not changed.
    wishes : Wishes, optional
        By default the layer's voxel sizes and their finest as the target.
    choices : Choices, optional
        How to learn and how to restore.
    axes, out, progress, cancelled
        As for `make_isotropic`.

    Returns
    -------
    (data, attributes, "image")
        What ``viewer.add_layer(napari.layers.Layer.create(*result))`` takes.

    Raises
    ------
    HrsrError
        As for `make_isotropic`.
    """
    source, names = layer_source(layer), layer_axes(layer, axes)
    wishes = wishes or Wishes(layer_spacing(layer, names))
    with reporting(progress) as report:
        stop = as_callable(cancelled)
        done = _run(source, names, layer, wishes, choices or Choices(), out, report, stop)
    return done.data, isotropic_attributes(layer, done.job, done.record), "image"


@dataclass(frozen=True, slots=True, eq=False)
class _Done:
    """A result, and what it came from."""

    data: Any
    job: Job
    record: dict[str, Any]
    measured: Measured
    model: AxialModel


def _run(
    source: Any,
    axes: str | None,
    layer: Any,
    wishes: Wishes,
    choices: Choices,
    out: Any,
    report: Report,
    stop: Callable[[], bool],
) -> _Done:
    if isinstance(out, (str, Path)):
        if not is_zarr_name(out):
            msg = (
                f"{Path(out).name}: a path to write to ends in .ome.zarr; for others read the array"
            )
            raise InputError(msg)
        check_target(Path(out), overwrite=False)
    fit_output(rehearse(source, axes, wishes, choices), layer, out)
    measured, model = prepare(source, axes, wishes, choices, report, stop)
    job = restoration_job(measured, model, choices)
    job, metadata = fit_output(job, layer, out)
    if layer is None:
        # An array says nothing of its voxels; its owner did.
        scale = job.axes.spread(measured.stack.spacing)
        metadata = replace(metadata, scale=tuple(float(s) for s in scale))
    name = "" if layer is None else str(layer.name)
    record = describe_restoration(job, measured, model, source_name=name)
    with opened_output(out, job, metadata) as (target, finish):
        restore(job, measured, target, report, stop)
        return _Done(finish(record, stop), job, record, measured, model)


@contextlib.contextmanager
def reporting(progress: Report | bool | None) -> Iterator[Report]:
    """Yield what progress is told to: a callable, bars in the terminal, or nothing.

    Parameters
    ----------
    progress : callable, bool or None
        As for `make_isotropic`.
    """
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield report
