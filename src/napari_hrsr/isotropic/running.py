"""The steps of making a stack isotropic, as every face of it takes them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_hrsr.api import check_memory, drain
from napari_hrsr.errors import InputError
from napari_hrsr.forward import AxialProfile
from napari_hrsr.isotropic.axial_model import AxialModel, axial_folder, read_axial_model
from napari_hrsr.isotropic.doubting import Differences, plan_doubt
from napari_hrsr.isotropic.making import check_consistency, learn_model, plan_restoration
from napari_hrsr.isotropic.measuring import Measured, Wishes, describe, given_profile, measure
from napari_hrsr.isotropic.restoring import AxialRestoration
from napari_hrsr.jobs import Job, plan_job, start_job
from napari_hrsr.layers import result_attributes
from napari_hrsr.training.events import Event, Progress

Report = Callable[[str, int, int], None]
Cancelled = threading.Event | Callable[[], bool]

MEASURING, LEARNING, RESTORING, DOUBTING = "Measuring", "Learning", "Restoring", "Doubting"
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


def map_doubt(
    measured: Measured,
    model: AxialModel,
    choices: Choices,
    report: Report,
    cancelled: Callable[[], bool],
    target: Any = None,
) -> Any:
    """Map where the two orientations of a result disagree; see `doubting`.

    Parameters
    ----------
    measured : Measured
        The stack.
    model : AxialModel
        The network of the result.
    choices : Choices
        Tile, device and precision.
    report, cancelled : callable
        As for `make_isotropic`.
    target : array-like, optional
        What to write into, float32; by default a new array.

    Returns
    -------
    array
        Of the shape of the result, in the stack's units.

    Raises
    ------
    CancelledError
        If it was stopped before.
    """
    job = plan_doubt(
        measured,
        model,
        tile=choices.tile,
        device=choices.device,
        precision=choices.precision,
    )
    if target is None:
        check_memory(job)
        target = np.zeros(job.shape, np.float32)
    sink = Differences(target, job.axes, measured.intensity)
    tiles = start_job(job, sink, measured.intensity, cancelled=cancelled)
    drain(tiles, job.total, lambda done, total: report(DOUBTING, done, total))
    return target


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
