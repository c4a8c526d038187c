"""Learn to refine a stack from its own slices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_hrsr.axes import Axes
from napari_hrsr.errors import CancelledError
from napari_hrsr.forward import AxialProfile
from napari_hrsr.intensity import Intensity
from napari_hrsr.isotropic.self_pairs import LARGEST, open_stack
from napari_hrsr.isotropic.stack import Stack
from napari_hrsr.training.config import ModelSettings, OptimiserSettings, TrainingConfig
from napari_hrsr.training.events import Report
from napari_hrsr.training.fit import run_training

MINUTES = 3.0
"""How long to learn where nobody says."""


def axial_config(
    stack: Stack, *, name: str, minutes: float = MINUTES, steps: int = 0, seed: int = 0,
    device: str = "auto",
) -> TrainingConfig:  # fmt: skip
    """Return the settings with which a network learns from a stack.

    Wide residual blocks (WDSR, Yu et al. 2018) learn this faster than the
    networks that serve all axes alike.

    Parameters
    ----------
    stack : Stack
        The grids.
    name : str
        Of the model.
    minutes : float
        How long to learn; not looked at where `steps` are given.
    steps : int
        Of the optimiser.
    seed : int
        Of everything random.
    device : str
        As for `TrainingConfig`.
    """
    return TrainingConfig(
        scale=(stack.levels, 1),
        steps=steps,
        minutes=0.0 if steps else minutes,
        seed=seed,
        device=device,
        largest=LARGEST,
        batch=5,
        patch=32,
        model=ModelSettings(
            name=name,
            title=f"Axial x{stack.levels}, learned from one stack",
            network="wide",
            arguments={"features": 16, "blocks": 4},
        ),
        optimiser=OptimiserSettings(),
    )


def learn(
    source: Any,
    axes: Axes,
    stack: Stack,
    profile: AxialProfile,
    intensity: Intensity,
    config: TrainingConfig,
    folder: Path,
    *,
    report: Report | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Train on the stack's slices.

    Parameters
    ----------
    source : array-like
        The stack.
    axes, stack, profile, intensity
        As for `SelfPairs`.
    config : TrainingConfig
        From `axial_config`.
    folder : Path
        For the files of the run.
    report, cancelled : callable
        As for `run_training`.

    Returns
    -------
    Path
        The trained network, with two spatial axes and the factor
        (`Stack.levels`, 1).

    Raises
    ------
    CancelledError
        If it was stopped.
    """
    data = open_stack(source, axes, stack, profile, intensity, config.seed)
    model = run_training(config, folder, data=data, report=report, cancelled=cancelled)
    if cancelled() or model is None:
        msg = "cancelled while learning from the stack"
        raise CancelledError(msg)
    return model
