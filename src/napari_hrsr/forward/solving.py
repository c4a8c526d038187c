"""Solving ``(A A' + weight) m = r``: what a result has to be moved by, and how much of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dctn, idctn
from torch import Tensor

from napari_hrsr.errors import ComputeError
from napari_hrsr.forward.gram import gram_of, has_stencil
from napari_hrsr.forward.model import ForwardModel

AIM = 1.0
"""Chi-square per pixel that is aimed at: the source's noise is left where it is."""

NEAR = 0.05
"""How far from the aim counts as there."""

_ROUGH = 0.01
"""What a proximal step may leave, over the noise."""

_STEPS = 600
"""Steps after which a solution is given up."""

_ERASED = 1e-6
"""Energy over the largest, below which a cosine counts as erased by the preconditioner."""

_TRIALS = 60

_LONGEST_MATRIX = 320
"""Pixels along an axis up to which its share of A A' is applied as one matrix."""


class Solver:
    """Conjugate gradients on ``A A' + weight``, each solution starting from the last.

    Preconditioned in the cosines that nearly diagonalise A A', so that few
    steps are needed.

    Parameters
    ----------
    forward : ForwardModel
        The instrument.
    residual : Tensor
        Source less degraded result, shape (..., *spatial), float64.
    check : callable
        Called in every step; may raise to stop.
    """

    def __init__(
        self, forward: ForwardModel, residual: Tensor, check: Callable[[], None] = lambda: None
    ) -> None:
        self.forward, self.residual, self.check = forward, residual, check
        self.last = torch.zeros_like(residual)
        self.steps = 0
        self._matrices = _axis_matrices(forward, residual.shape[-forward.ndim :])
        self._axes = tuple(range(-forward.ndim, 0))
        self._spectrum: NDArray[np.float64] | None = None
        if has_stencil(forward):
            self._spectrum = gram_of(forward).spectrum(residual.shape[-forward.ndim :])

    def solve(self, weight: float, goal: float) -> Tensor:
        """Solve until the mean square of what is left is down to the goal.

        Raises
        ------
        ComputeError
            If that does not come to an end.
        """
        solution = self.last.clone()
        left = self.residual - self._operate(solution, weight)
        eased = self._ease(left, weight)
        direction, energy = eased.clone(), float((left * eased).sum())
        for _ in range(_STEPS):
            if float(left.square().mean()) <= goal:
                self.last = solution
                return solution
            self.check()
            image = self._operate(direction, weight)
            step = energy / float((direction * image).sum())
            solution = solution + step * direction
            left = left - step * image
            eased = self._ease(left, weight)
            new = float((left * eased).sum())
            direction, energy = eased + (new / energy) * direction, new
            self.steps += 1
        msg = (
            "the projection does not converge: this blur leaves almost nothing of the finest "
            "detail. Give the noise of the source, or a larger one, so that only what rises "
            "above it is enforced"
        )
        raise ComputeError(msg)

    def weight_for(self, aim: float) -> tuple[float, Tensor]:
        """Find the weight at which the mean square of what is left is the aim.

        What is left is ``weight * multiplier``; it rises with the weight.

        Parameters
        ----------
        aim : float
            Below the mean square of the residual.

        Returns
        -------
        weight : float
            The weight.
        multiplier : Tensor
            The solution for it.
        """

        def left(weight: float) -> float:
            multiplier = self.solve(weight, _ROUGH**2 * aim)
            return weight**2 * float(multiplier.square().mean())

        weight = find_weight(left, aim)
        return weight, self.last

    def _operate(self, v: Tensor, weight: float) -> Tensor:
        if self._matrices is None:
            return self.forward.apply(self.forward.adjoint(v)) + weight * v
        image = v
        for matrix, axis in zip(self._matrices, self._axes, strict=True):
            image = torch.tensordot(matrix, image, ([1], [image.ndim + axis])).movedim(0, axis)
        return image + weight * v

    def _ease(self, v: Tensor, weight: float) -> Tensor:
        """Apply the preconditioner."""
        if self._spectrum is None:
            return v
        energies = np.maximum(self._spectrum, _ERASED * self._spectrum.max()) + weight
        cosines = dctn(v.numpy(), axes=self._axes, norm="ortho") / energies
        return torch.from_numpy(idctn(cosines, axes=self._axes, norm="ortho"))


def _axis_matrices(forward: ForwardModel, shape: Sequence[int]) -> list[Tensor] | None:
    """Return A A' along each axis, borders included; None where it is no product of axes."""
    if forward.point_spread is not None or max(shape) > _LONGEST_MATRIX:
        return None
    matrices = []
    for axis, n in enumerate(shape):
        matrix = torch.eye(n, dtype=torch.float64)
        for step in reversed(forward.along(axis)):
            matrix = step.spread(matrix, 0)
        for step in forward.along(axis):
            matrix = step.collect(matrix, 0)
        matrices.append(matrix)
    return matrices


def find_weight(left: Callable[[float], float], aim: float, *, near: float = NEAR) -> float:
    """Find the weight that leaves as much as is aimed at (Morozov's discrepancy principle).

    Parameters
    ----------
    left : callable
        Mean square of source less degraded result for a weight; rises with it.
    aim : float
        The variance of the noise.
    near : float
        Relative error that is good enough.

    Returns
    -------
    float
        What was tried last.
    """
    low, high, exponent = -math.inf, math.inf, 0.0
    for _ in range(_TRIALS):
        ratio = left(10.0**exponent) / aim
        if abs(ratio - 1) < near:
            break
        low, high = (exponent, high) if ratio < 1 else (low, exponent)
        # From the large weights down: those are solved in a few steps.
        if math.isinf(high):
            exponent += 1.0
        else:
            exponent = exponent - 1.0 if math.isinf(low) else (low + high) / 2
    return float(10.0**exponent)
