"""The settings with which a network learns from a stack."""

from __future__ import annotations

from napari_hrsr.isotropic.self_pairs import LARGEST
from napari_hrsr.isotropic.stack import Stack
from napari_hrsr.training.config import ModelSettings, OptimiserSettings, TrainingConfig

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
