"""A result changed as little as possible until it agrees with what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation.images import Image, check_image
from napari_hrsr.forward import AIM, NEAR, ForwardModel, Solver

_EXACT = 1e-12
"""What the exact projection may leave, over the source: rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Consistent:
    """A result that agrees with its source.

    Attributes
    ----------
    data : ndarray
        Shape of the result, float64, in the source's units; not clipped.
    weight : float
        What was added to the diagonal of ``A A'``: 0 for the exact projection,
        infinity if the result agreed within the noise and was left as it was.
    before, after : float
        Mean square of source less degraded result, before and after: in units
        of the noise's variance (chi-square per pixel) where noise was given,
        else in the square of the source's units.
    steps : int
        Of conjugate gradients, over all trials of a weight.
    """

    data: Image
    weight: float
    before: float
    after: float
    steps: int


def make_consistent(
    result: Any,
    source: Any,
    forward: ForwardModel,
    *,
    noise: float = 0.0,
    check: Callable[[], None] = lambda: None,
) -> Consistent:
    """Move a result to the nearest image that agrees with its source.

    With A the instrument, y the source and x the result, that is
    ``x + A' (A A' + weight)^-1 (y - A x)``. Without noise the weight is 0 and
    the degraded result equals the source; that is an orthogonal projection onto
    a set that holds the truth, and cannot raise the mean square error as long
    as `forward` is right. With noise the exact projection would put the noise
    into the result: the weight is then chosen so that chi-square per pixel is
    close to 1 (Morozov's discrepancy principle).

    Parameters
    ----------
    result : array-like
        Shape of the source times the factor, 2 or 3 axes.
    source : array-like
        What was measured.
    forward : ForwardModel
        The instrument, of whole factors.
    noise : float
        Standard deviation of the source's noise, in its units, from 0 up; see
        `consistency.measured_noise`.
    check : callable
        Called in every step; may raise to stop.

    Returns
    -------
    Consistent

    Raises
    ------
    InputError
        If the images do not fit the model.
    ComputeError
        If conjugate gradients do not come to an end: the blur erases what the
        exact projection asks for.
    """
    fine = torch.from_numpy(np.array(check_image(result, "result")))
    coarse = torch.from_numpy(np.array(check_image(source, "source")))
    if coarse.ndim != forward.ndim:
        msg = f"the forward model has {forward.ndim} axes, but the source {coarse.ndim}"
        raise InputError(msg)
    expected = tuple(n * k for n, k in zip(coarse.shape, forward.factor, strict=True))
    if tuple(fine.shape) != expected:
        msg = (
            f"a source of shape {tuple(coarse.shape)} at the factor {forward.factor} gives "
            f"{expected}, but the result has shape {tuple(fine.shape)}"
        )
        raise InputError(msg)
    if not (math.isfinite(noise) and noise >= 0):
        msg = f"noise must be a number from 0 up, in the source's units, got {noise}"
        raise InputError(msg)
    residual = coarse - forward.apply(fine)
    scale = noise**2 if noise else 1.0
    before = float(residual.square().mean()) / scale
    if noise and before <= AIM + NEAR:
        return Consistent(fine.numpy(), math.inf, before, before, 0)
    solver = Solver(forward, residual, check)
    if noise:
        weight, multiplier = solver.weight_for(AIM * scale)
    else:
        largest = max(float(coarse.square().mean()), before)
        weight, multiplier = 0.0, solver.solve(0.0, _EXACT**2 * largest)
    moved = fine + forward.adjoint(multiplier)
    after = float((coarse - forward.apply(moved)).square().mean()) / scale
    return Consistent(moved.numpy(), weight, before, after, solver.steps)
