"""What people call: make an array, a layer or a file isotropic."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_hrsr.api import as_callable, drain, fit_output, opened_output
from napari_hrsr.errors import InputError
from napari_hrsr.files import is_zarr_name
from napari_hrsr.files.ome_zarr import check_target
from napari_hrsr.forward import AxialProfile
from napari_hrsr.isotropic.axial_model import AxialModel, axial_folder, read_axial_model
from napari_hrsr.isotropic.making import check_consistency, learn_model, plan_restoration
from napari_hrsr.isotropic.measuring import Measured, Wishes, describe, given_profile, measure
from napari_hrsr.isotropic.reporting import describe_restoration
from napari_hrsr.isotropic.restoring import AxialRestoration
from napari_hrsr.jobs import Job, plan_job, start_job
from napari_hrsr.layers import is_layer, layer_axes, layer_source, result_attributes
from napari_hrsr.training.events import Event, Progress

Report = Callable[[str, int, int], None]
Cancelled = threading.Event | Callable[[], bool]

MEASURING, LEARNING, RESTORING = "Measuring", "Learning", "Restoring"
"""What is being done, as progress names it."""


@dataclass(frozen=True, slots=True)
class Choices:
    """How to learn and how to restore; see `make_isotropic`.

    Attributes
    ----------
    model : AxialModel, str, Path or None
        A network that was learned before, in place of learning one.
    keep : str, Path or None
        Name or file to keep the learned network as.
    minutes : float or None
        How long to learn.
    steps : int
        In place of minutes.
    seed : int
        Of everything random.
    consistency, ensemble, tile, device, precision, dtype
        As for `plan_restoration`.
    """

    model: AxialModel | str | Path | None = None
    keep: str | Path | None = None
    minutes: float | None = None
    steps: int = 0
    seed: int = 0
    consistency: str | float = "auto"
    ensemble: bool = False
    tile: int | Sequence[int] | None = None
    device: str = "auto"
    precision: str = "auto"
    dtype: Any = None


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
    seed : int
        Of everything random.
    progress : callable or bool, optional
        Called with what is being done and how many parts are done of how many;
        True shows bars in the terminal.
    cancelled : threading.Event or callable, optional
        Stops learning and restoring.

    Returns
    -------
    array
        `out`, the new zarr array, or a new numpy array. From axis to axis
        ``ceil(length * spacing / target)`` voxels.

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
        data, _, _ = _run(volume, axes, layer, wishes, choices, out, report, stop)
    return data


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
        data, job, record = _run(
            source, names, layer, wishes, choices or Choices(), out, report, stop
        )
    return data, isotropic_attributes(layer, job, record), "image"


def isotropic_attributes(layer: Any, job: Job, record: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a result's layer, which lies exactly on its source.

    Parameters
    ----------
    layer : napari.layers.Image
        The source.
    job : Job
        The run.
    record : dict
        How the result was made.
    """
    return result_attributes(layer, job, record) | {"name": f"{layer.name} isotropic"}


def layer_spacing(layer: Any, axes: str) -> tuple[float, ...]:
    """Return the voxel sizes z, y, x of a layer.

    Parameters
    ----------
    layer : napari.layers.Image
        The source.
    axes : str
        One letter per axis of its data.

    Raises
    ------
    InputError
        If it has no axis z.
    """
    if "Z" not in axes:
        msg = f"layer {str(layer.name)!r} has no z axis: a stack of slices has three axes"
        raise InputError(msg)
    return tuple(abs(float(layer.scale[axes.index(letter)])) for letter in "ZYX")


def make_wishes(
    spacing: Sequence[float],
    axis: int = 0,
    target: float | Sequence[float] | None = None,
    profile: Any = "gaussian",
    fwhm: float | None = None,
    noise: str | float | None = "auto",
) -> Wishes:
    """Collect what was said about a stack.

    Parameters
    ----------
    spacing, axis, target, profile, fwhm, noise
        As for `make_isotropic`.

    Raises
    ------
    InputError
        If a number is none.
    """
    try:
        sizes = tuple(float(v) for v in spacing)
        wanted: float | tuple[float, ...] | None = None
        if isinstance(target, (int, float)):
            wanted = float(target)
        elif target is not None:
            wanted = tuple(float(v) for v in target)
        width = None if fwhm is None else float(fwhm)
        level = None if noise in (None, "auto") else float(noise)
    except (TypeError, ValueError):
        msg = (
            "spacing, target, fwhm and noise are numbers, got "
            f"{spacing!r}, {target!r}, {fwhm!r} and {noise!r}"
        )
        raise InputError(msg) from None
    return Wishes(sizes, axis, wanted, profile, width, level)


def prepare(
    source: Any,
    axes: str | None,
    wishes: Wishes,
    choices: Choices,
    report: Report,
    cancelled: Callable[[], bool],
    *,
    found: Callable[[Measured], None] = lambda measured: None,
    preview: Callable[[Measured, AxialModel], None] | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> tuple[Measured, AxialModel]:
    """Measure a stack, and learn from it or open what was learned before.

    Parameters
    ----------
    source, axes, wishes
        As for `measuring.measure`.
    choices : Choices
        How to learn.
    report, cancelled : callable
        As for `make_isotropic`.
    found : callable
        Called with what was measured, before anything is learned.
    preview : callable, optional
        Called with it and the network, from time to time.
    enough : callable
        Polled: stop learning, and use what there is.

    Raises
    ------
    HrsrError
        If something does not fit; of a model before anything is read.
    """
    _, stack = describe(source, axes, wishes)
    known = choices.model
    if known is not None and not isinstance(known, AxialModel):
        known = read_axial_model(known)
    if known is not None:
        known.check(stack)
    # What a network was learned for holds, unless somebody says otherwise.
    said = wishes.fwhm is not None or not (
        isinstance(wishes.profile, str) and wishes.profile == "gaussian"
    )
    measured = measure(
        source,
        axes,
        wishes,
        profile=None if known is None or said else known.facts.profile,
        progress=lambda done, total: report(MEASURING, done, total),
        cancelled=cancelled,
    )
    found(measured)
    if known is not None:
        return measured, known

    def follow(event: Event) -> None:
        if isinstance(event, Progress):
            report(LEARNING, event.step, event.steps)

    path = None if choices.keep is None else kept_path(choices.keep)
    learned = learn_model(
        measured,
        minutes=choices.minutes,
        steps=choices.steps,
        seed=choices.seed,
        device=choices.device,
        name="axial" if path is None else path.stem,
        path=path,
        report=follow,
        preview=None if preview is None else lambda network: preview(measured, network),
        enough=enough,
        cancelled=cancelled,
    )
    return measured, learned


def kept_path(keep: str | Path) -> Path:
    """Return the file of a network that is kept under a name, or in a file.

    Parameters
    ----------
    keep : str or Path
        Name, or path that ends in ``.safetensors``.

    Raises
    ------
    InputError
        If the name is none for a file.
    """
    path = Path(keep)
    if path.suffix == ".safetensors":
        return path
    if path.name != str(keep) or not path.name.strip(". "):
        msg = (
            f"{str(keep)!r} is no name: use letters and digits, or a path that ends in .safetensors"
        )
        raise InputError(msg)
    return axial_folder() / f"{keep}.safetensors"


def restoration_job(measured: Measured, model: AxialModel, choices: Choices) -> Job:
    """Plan the run of the engine as was chosen.

    Parameters
    ----------
    measured : Measured
        The stack.
    model : AxialModel
        The network.
    choices : Choices
        How to restore.
    """
    return plan_restoration(
        measured,
        model,
        consistency=choices.consistency,
        ensemble=choices.ensemble,
        tile=choices.tile,
        device=choices.device,
        precision=choices.precision,
        dtype=choices.dtype,
    )


def rehearse(source: Any, axes: str | None, wishes: Wishes, choices: Choices) -> Job:
    """Plan a run before there is a network, so that what cannot be done is refused at once.

    Parameters
    ----------
    source, axes, wishes, choices
        As for `prepare`.

    Returns
    -------
    Job
        With the shape, data type and grid of the result, and cubic
        interpolation in place of the network.

    Raises
    ------
    HrsrError
        If something does not fit.
    """
    roles, stack = describe(source, axes, wishes)
    given_profile(wishes, stack)
    check_consistency(choices.consistency)
    if choices.keep is not None:
        kept_path(choices.keep)
    factor = ["1", "1", "1"]
    factor[stack.axis] = str(stack.levels)
    return plan_job(
        source,
        f"cubic-{'x'.join(factor)}",
        axes=roles.names,
        tile=choices.tile,
        device=choices.device,
        precision=choices.precision,
        dtype=choices.dtype,
        regrid=AxialRestoration(stack, AxialProfile(), 0.0),
    )


def _run(
    source: Any,
    axes: str | None,
    layer: Any,
    wishes: Wishes,
    choices: Choices,
    out: Any,
    report: Report,
    stop: Callable[[], bool],
) -> tuple[Any, Job, dict[str, Any]]:
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
        return finish(record, stop), job, record


def restore(
    job: Job, measured: Measured, target: Any, report: Report, cancelled: Callable[[], bool]
) -> None:
    """Run the engine to its end.

    Parameters
    ----------
    job : Job
        From `restoration_job`.
    measured : Measured
        The stack.
    target : array-like
        What to write into.
    report, cancelled : callable
        As for `make_isotropic`.

    Raises
    ------
    CancelledError
        If it was stopped before.
    """
    tiles = start_job(job, target, measured.intensity, cancelled=cancelled)
    drain(tiles, job.total, lambda done, total: report(RESTORING, done, total))


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
