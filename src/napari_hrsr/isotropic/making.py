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

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_hrsr.errors import InputError
from napari_hrsr.isotropic.axial_model import (
    AxialFacts,
    AxialModel,
    measure_misfit,
    write_axial_model,
)
from napari_hrsr.isotropic.learning import MINUTES, axial_config, learn
from napari_hrsr.isotropic.measuring import Measured
from napari_hrsr.isotropic.restoring import AxialRestoration
from napari_hrsr.isotropic.self_pairs import open_stack
from napari_hrsr.isotropic.stack import CLEAN
from napari_hrsr.jobs import Job, Region, plan_job
from napari_hrsr.models.compose import average_planes, self_ensemble, turned
from napari_hrsr.models.load import NetworkUpscaler, load_model
from napari_hrsr.training.events import Report as TrainingReport


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
    report, cancelled : callable, optional
        As for `run_training`.

    Raises
    ------
    CancelledError
        If it was stopped.
    """
    stack, profile = measured.stack, measured.profile
    config = axial_config(
        stack, name=name, minutes=minutes or MINUTES, steps=steps, seed=seed, device=device
    )
    with tempfile.TemporaryDirectory(prefix="napari-hrsr-") as folder:
        trained = learn(
            measured.source,
            measured.axes,
            stack,
            profile,
            measured.intensity,
            config,
            Path(folder) / "run",
            report=report,
            cancelled=cancelled,
        )
        network = load_model(trained)
        assert isinstance(network, NetworkUpscaler)
        held = open_stack(
            measured.source, measured.axes, stack, profile, measured.intensity, seed
        ).validation
        misfit = measure_misfit(network, stack, profile, held)
        facts = AxialFacts(stack.ratio, profile, misfit)
        if path is not None:
            return write_axial_model(network, facts, path)
        # Its weights are in memory, and its file goes.
        return AxialModel(network, facts, Path(f"{name}.safetensors"))


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
    if isinstance(consistency, (int, float)):
        if not 0 <= consistency <= 1:
            msg = f"consistency is a share from 0 to 1, got {consistency}"
            raise InputError(msg)
        return float(consistency)
    if consistency not in ("auto", "exact", "none"):
        msg = f"consistency is 'auto', 'exact', 'none' or a share, got {consistency!r}"
        raise InputError(msg)
    noise, misfit = measured.noise, model.facts.misfit
    if consistency == "none":
        return 0.0
    if consistency == "exact" or noise <= CLEAN:
        return 1.0
    return misfit**2 / (misfit**2 + noise**2)
