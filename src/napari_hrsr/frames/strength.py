"""How smooth the fine image shall be, chosen by frames that were held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_hrsr.frames.reconstructing import Recorded, reconstruct
from napari_hrsr.frames.refining import misfit

STRENGTHS = tuple(10 ** (k / 4) for k in range(-6, 11))
"""Those that are tried: 0.03 to 316."""

FIRST = 10.0
"""Strength to begin with; usual for one per cent of noise."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A strength, and what it was chosen by.

    Attributes
    ----------
    strength : float
        The one that predicts the held-out frames best.
    tried : tuple of (float, float)
        Strengths, and the mean squared error of their predictions over the
        noise's variance.
    held : tuple of int
        Which of the kept frames were held out.
    """

    strength: float
    tried: tuple[tuple[float, float], ...]
    held: tuple[int, ...]


def held_out(count: int) -> tuple[int, ...]:
    """Return which of so many frames to hold out; never the first, the reference.

    Parameters
    ----------
    count : int
        Of frames, from two up.
    """
    if count < 5:
        return (count - 1,)
    return (1 + (count - 1) // 3, 1 + 2 * (count - 1) // 3)


def choose_strength(
    recorded: Recorded,
    start: Tensor,
    *,
    first: float = FIRST,
    step: Callable[[int], None] = lambda done: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Choice:
    """Find the strength with which the other frames predict the held-out ones best.

    From `first` uphill on a logarithmic scale, until both neighbours are worse.

    Parameters
    ----------
    recorded : Recorded
        A window of the frames.
    start : Tensor
        Where to begin.
    first : float
        Strength to begin with.
    step : callable
        Called with how many strengths were tried.
    cancelled : callable
        Polled.
    """
    held = held_out(len(recorded.values))
    weights = recorded.weights.clone()
    weights[torch.tensor(held)] = 0
    seen = Recorded(recorded.frames, recorded.values, weights, recorded.noise)
    tried: dict[int, float] = {}
    image = start

    def price(number: int) -> float:
        nonlocal image
        if number not in tried:
            if not 0 <= number < len(STRENGTHS):
                return float("inf")
            image = reconstruct(seen, STRENGTHS[number], image, rounds=3, cancelled=cancelled)
            tried[number] = misfit(recorded, image, held)
            step(len(tried))
        return tried[number]

    best = min(range(len(STRENGTHS)), key=lambda k: abs(STRENGTHS[k] - first))
    for width in (2, 1):
        while True:
            near = min((best, best - width, best + width), key=price)
            if near == best:
                break
            best = near
    listed = tuple((STRENGTHS[k], tried[k]) for k in sorted(tried))
    return Choice(STRENGTHS[best], listed, held)
