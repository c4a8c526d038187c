"""Make a stack isotropic, step by step.

::

    describe ----> measure ----> learn ----> restore
    voxel sizes    range,        a network   the engine, tile by tile, with
    and target     noise, slice  from the    `AxialRestoration` after the
                   width         slices      network

Each step is a function that takes what the one before returned, so that a
window can show what was found before the next one starts.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.isotropic.axial_model import (
    AxialFacts,
    AxialModel,
    measure_misfit,
    write_axial_model,
)
from napari_hrsr.isotropic.learning import MINUTES, axial_config
from napari_hrsr.isotropic.measuring import Measured
from napari_hrsr.isotropic.restoring import AxialRestoration
from napari_hrsr.isotropic.self_pairs import open_stack
from napari_hrsr.isotropic.stack import CLEAN
from napari_hrsr.jobs import Job, Region, plan_job
from napari_hrsr.models.compose import average_planes, self_ensemble, turned
from napari_hrsr.models.load import NetworkUpscaler, load_model
from napari_hrsr.training.events import Event
from napari_hrsr.training.events import Measured as MeasuredEvent
from napari_hrsr.training.events import Report as TrainingReport
from napari_hrsr.training.fit import run_training
from napari_hrsr.training.run_folder import RunFolder
from napari_hrsr.training.validation import ValidationImage

_LATEST = 1.5
"""Learning ends after so many times the minutes asked for, on a machine that became busy."""

Preview = Callable[[AxialModel], None]
"""Called with the network as it is by now."""


def learn_model(
    measured: Measured,
    *,
    minutes: float | None = None,
    steps: int = 0,
    seed: int = 0,
    device: str = "auto",
    name: str = "axial",
    path: Path | None = None,
    report: TrainingReport | None = None,
    preview: Preview | None = None,
    enough: Callable[[], bool] = lambda: False,
    cancelled: Callable[[], bool] = lambda: False,
) -> AxialModel:
    """Learn to refine a stack from its own slices.

    Parameters
    ----------
    measured : Measured
        From `measure`.
    minutes : float, optional
        How long to learn, by default three.
    steps : int
        In place of minutes: how many steps.
    seed : int
        Of everything random.
    device : str
        As for `devices.resolve_device`.
    name : str
        Of the model.
    path : Path, optional
        Where to keep it; by default it is forgotten with the process.
    report : callable, optional
        As for `run_training`.
    preview : callable, optional
        Called from time to time, between two steps.
    enough, cancelled : callable
        Polled after each step: stop learning and use what there is, as soon as
        there is something; or stop.

    Raises
    ------
    CancelledError
        If it was stopped before there was a network.
    """
    config = axial_config(
        measured.stack,
        name=name,
        minutes=minutes or MINUTES,
        steps=steps,
        seed=seed,
        device=device,
    )
    data = open_stack(
        measured.source,
        measured.axes,
        measured.stack,
        measured.profile,
        measured.intensity,
        seed,
    )
    with tempfile.TemporaryDirectory(prefix="napari-hrsr-") as folder:
        run = Path(folder) / "run"

        def follow(event: Event) -> None:
            if report is not None:
                report(event)
            if preview is not None and isinstance(event, MeasuredEvent) and not cancelled():
                preview(_opened(RunFolder(run).model, measured, data.validation[:2]))

        # The steps were chosen for a machine as busy as at the start.
        seconds = math.inf if steps else _LATEST * 60 * (minutes or MINUTES)
        latest = time.monotonic() + seconds

        def stop() -> bool:
            if cancelled():
                return True
            late = time.monotonic() > latest
            # Before the first measurement there is nothing to use.
            return (late or enough()) and RunFolder(run).model.exists()

        trained = run_training(config, run, data=data, report=follow, cancelled=stop)
        if cancelled() or trained is None:
            msg = "cancelled while learning from the stack"
            raise CancelledError(msg)
        model = _opened(trained, measured, data.validation)
        return model if path is None else write_axial_model(model, path)


def _opened(path: Path, measured: Measured, held: list[ValidationImage]) -> AxialModel:
    """Load a network; its weights are in memory then, and its file may go."""
    network = load_model(path)
    assert isinstance(network, NetworkUpscaler)
    misfit = measure_misfit(network, measured.stack, measured.profile, held)
    return AxialModel(network, AxialFacts(measured.stack.ratio, measured.profile, misfit), path)


def plan_restoration(
    measured: Measured,
    model: AxialModel,
    *,
    consistency: str | float = "auto",
    ensemble: bool = False,
    tile: int | Sequence[int] | None = None,
    device: str = "auto",
    precision: str = "auto",
    dtype: Any = None,
    region: Region | None = None,
) -> Job:
    """Plan the run of the engine that restores a stack.

    Parameters
    ----------
    measured : Measured
        From `measure`.
    model : AxialModel
        Learned from it, or from a stack of the same kind.
    consistency : {"auto", "exact", "none"} or float
        Share, 0 to 1, of the difference between the slices and those of the
        result that is taken back: ``"auto"`` takes all of it where the slices
        are clean, and less the noisier they are.
    ensemble : bool
        Average over mirrored views as well: four times as slow, a little better.
    tile, device, precision, dtype, region
        As for `jobs.plan_job`.

    Raises
    ------
    HrsrError
        If something does not fit.
    """
    stack = measured.stack
    model.check(stack)
    planes = average_planes(self_ensemble(model.network) if ensemble else model.network)
    regrid = AxialRestoration(stack, measured.profile, choose_gain(measured, model, consistency))
    return plan_job(
        measured.source,
        turned(planes, stack.axis),
        axes=measured.axes.names,
        tile=tile,
        device=device,
        precision=precision,
        dtype=dtype,
        region=region,
        regrid=regrid,
    )


def choose_gain(measured: Measured, model: AxialModel, consistency: str | float = "auto") -> float:
    """Return how much of what the slices disagree with is taken back.

    Of a difference that has the variance m^2 from the network and s^2 from
    noise, the share m^2 / (m^2 + s^2) is the network's (Wiener 1949).

    Parameters
    ----------
    measured : Measured
        Of the stack.
    model : AxialModel
        Knows its own misfit.
    consistency
        As for `plan_restoration`.
    """
    check_consistency(consistency)
    if isinstance(consistency, (int, float)):
        return float(consistency)
    noise, misfit = measured.noise, model.facts.misfit
    if consistency == "none":
        return 0.0
    if consistency == "exact" or noise <= CLEAN:
        return 1.0
    return misfit**2 / (misfit**2 + noise**2)


def check_consistency(consistency: str | float) -> None:
    """Refuse what is neither a word nor a share.

    Parameters
    ----------
    consistency
        As for `plan_restoration`.

    Raises
    ------
    InputError
        With the choices.
    """
    fits = consistency in ("auto", "exact", "none")
    if isinstance(consistency, (int, float)):
        fits = 0 <= consistency <= 1
    if not fits:
        msg = f"consistency is 'auto', 'exact', 'none', or a share from 0 to 1, got {consistency!r}"
        raise InputError(msg)
