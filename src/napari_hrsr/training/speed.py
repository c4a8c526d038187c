"""How long models take, measured side by side."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from napari_hrsr.devices import Placement
from napari_hrsr.models.spec import ModelSpec, Upscaler
from napari_hrsr.running import Runner

_SIDES = {2: 192, 3: 40}
_ROUNDS = 8
_LONG = 4.0
"""Seconds after which no model is measured once more."""


def run_whole(runner: Runner, image: np.ndarray, noise: float) -> np.ndarray:
    """Upscale an image in one piece.

    Parameters
    ----------
    runner : Runner
        Of the model.
    image : ndarray
        Shape (C, *spatial), float32, in the model's value range.
    noise : float
        Standard deviation of the noise in it.

    Returns
    -------
    ndarray
        Shape (C, *(spatial * scale)), float32.
    """
    body = tuple((0, n) for n in image.shape[1:])
    levels = np.full(1, noise, np.float32)
    result: np.ndarray = runner.run(image[None], levels, [body])[0]
    return result


def make_runner(model: Upscaler, placement: Placement) -> Runner:
    """Prepare a model as a run does."""
    spec = model.spec
    return Runner(model, placement, spec.halo or (0,) * spec.ndim)


def megapixel_seconds(models: Sequence[tuple[Upscaler, Placement]], channels: int) -> list[float]:
    """Measure models in turn, so that what else the machine does weighs on all alike.

    Parameters
    ----------
    models : sequence of (Upscaler, Placement)
        What to measure, and where and in what precision.
    channels : int
        Of the image.

    Returns
    -------
    list of float
        Seconds for a million pixels of the result, per model, on as many
        threads as torch has: the least of some runs, as other work can only
        add to it.
    """
    runners = [make_runner(model, placement) for model, placement in models]
    seconds: list[list[float]] = [[] for _ in models]
    for _ in range(_ROUNDS):
        for runner, taken in zip(runners, seconds, strict=True):
            if sum(taken) < _LONG:
                taken.append(_seconds(runner, channels))
    return [
        min(taken) / _megapixels(model.spec)
        for taken, (model, _) in zip(seconds, models, strict=True)
    ]


def _seconds(runner: Runner, channels: int) -> float:
    ndim = runner.spec.ndim
    shape = (channels, *(_SIDES[ndim],) * ndim)
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    start = time.perf_counter()
    run_whole(runner, image, 0.02)
    return time.perf_counter() - start


def _megapixels(spec: ModelSpec) -> float:
    return math.prod(_SIDES[spec.ndim] * k for k in spec.scale) / 1e6
