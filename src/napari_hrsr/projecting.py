"""Holding a result to what was measured, tile by tile.

With A the instrument, x what the network made and y the source::

    result = x + A' (A A' + weight)^-1 (y - A x)

With a weight of 0 the result, degraded, equals the source. That is the
orthogonal projection onto all images that do, and the truth is one of them, so
that no result is further from the truth than x was. Where the source is noisy
the weight keeps its noise out of the result (see `projection_weight`); an
infinite one leaves x alone. Weights have no unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_hrsr.forward import (
    ForwardModel,
    Solver,
    describe_instrument,
    gram_of,
    read_instrument,
)

Interval = tuple[int, int]
Check = Callable[[], None]

_EXACT = 1e-9
"""What is left of the residual at most, over the source."""

_HALVINGS = 40
"""Of the interval in which the shift of a clipped pixel lies."""


def _nothing() -> None:
    """Stop nothing."""


@dataclass(frozen=True, slots=True)
class Projection:
    """The step for one channel, or whatever shares one weight; a `Regrid`.

    Attributes
    ----------
    forward : ForwardModel
        The instrument.
    weight : float
        From 0 (exact) to infinity (the result is left alone).
    margin : tuple of int
        Source pixels around a tile's body that it needs, per axis.
    limits : (float, float) or None
        Least and largest value that the result may hold, in the units of what
        it is applied to. They are kept where every pixel stands for itself and
        integrates evenly; elsewhere values beyond them are left to be clipped.
    check : callable
        Called between the steps of a solution; may raise to stop.
    """

    forward: ForwardModel
    weight: float
    margin: tuple[int, ...]
    limits: tuple[float, float] | None = None
    check: Check = field(default=_nothing, compare=False, repr=False)

    @property
    def factor(self) -> tuple[float, ...]:
        """Pixels of the result in one of the source, per axis."""
        return self.forward.factor

    def at(self, index: Sequence[int]) -> Projection:
        """Return the step for an index along the looped axes: this one."""
        return self

    def __call__(
        self,
        upscaled: NDArray[np.float32],
        measured: NDArray[np.float32],
        window: Sequence[Interval],
        body: Sequence[Interval],
    ) -> NDArray[np.float32]:
        """Compute the result in a body; see `Regrid`."""
        result = np.ascontiguousarray(upscaled)
        if not math.isinf(self.weight):
            local = gram_of(self.forward).local
            if local is None:
                result = self._solved(result, measured)
            else:
                result = self._shifted(result, measured, local)
        inside = zip(window, body, self.forward.factor, strict=True)
        crop = tuple(slice((a - w) * k, (b - w) * k) for (w, _), (a, b), k in inside)
        return np.ascontiguousarray(result[(slice(None), *crop)])

    def _solved(
        self, upscaled: NDArray[np.float32], measured: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Project where pixels overlap."""
        self.check()
        fine = torch.from_numpy(upscaled).double()
        source = torch.from_numpy(np.ascontiguousarray(measured)).double()
        residual = source - self.forward.apply(fine)
        scale = max(float(source.square().mean()), float(residual.square().mean()))
        solver = Solver(self.forward, residual, self.check)
        multiplier = solver.solve(self.weight, _EXACT**2 * scale)
        self.check()
        moved: NDArray[np.float32] = (fine + self.forward.adjoint(multiplier)).float().numpy()
        return moved

    def _shifted(
        self, upscaled: NDArray[np.float32], measured: NDArray[np.float32], energy: float
    ) -> NDArray[np.float32]:
        """Project where every pixel stands for itself: each moves what it collects."""
        fine = torch.from_numpy(upscaled)
        source = torch.from_numpy(np.ascontiguousarray(measured))
        residual = source - self.forward.apply(fine)
        moved = fine + self.forward.adjoint(residual / (energy + self.weight))
        even = math.isclose(energy * math.prod(self.forward.factor), 1.0, rel_tol=1e-9)
        if self.limits is not None and self.weight == 0 and even:
            _keep_within(moved, fine, source, self.forward.factor, self.limits)
        found: NDArray[np.float32] = moved.numpy()
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Projections:
    """The steps of a whole image: one weight for whatever shares a measurement.

    Attributes
    ----------
    forward : ForwardModel
        The instrument.
    weight : ndarray
        One entry per index of each looped axis, or length 1 where an axis
        shares one, as in `Intensity`.
    before : ndarray
        Same shape: the mean square of source less degraded result, over the
        variance of the source's noise, before anything is moved; NaN where it
        was not needed.
    margin : tuple of int
        As for `Projection`.
    limits : ndarray or None
        Shape of `weight` and (2,); as for `Projection`.
    check : callable
        As for `Projection`.
    """

    forward: ForwardModel
    weight: NDArray[np.float64]
    before: NDArray[np.float64]
    margin: tuple[int, ...]
    limits: NDArray[np.float64] | None = None
    check: Check = field(default=_nothing, repr=False)

    @property
    def factor(self) -> tuple[float, ...]:
        """Pixels of the result in one of the source, per axis."""
        return self.forward.factor

    def at(self, index: Sequence[int]) -> Projection:
        """Return the step for an index along the looped axes."""
        at = tuple(i if n > 1 else 0 for i, n in zip(index, self.weight.shape, strict=True))
        limits = None
        if self.limits is not None:
            limits = (float(self.limits[at][0]), float(self.limits[at][1]))
        return Projection(self.forward, float(self.weight[at]), self.margin, limits, self.check)

    def __call__(
        self,
        upscaled: NDArray[np.float32],
        measured: NDArray[np.float32],
        window: Sequence[Interval],
        body: Sequence[Interval],
    ) -> NDArray[np.float32]:
        """Compute the first index; see `Regrid`."""
        return self.at((0,) * self.weight.ndim)(upscaled, measured, window, body)

    def summary(self) -> dict[str, Any]:
        """Return what it takes to make them again, in values that JSON can hold."""
        return {
            **describe_instrument(self.forward),
            "weight": _listed(self.weight),
            "chi_square_before": _listed(self.before),
        }


def widest_margin(forward: ForwardModel, weights: NDArray[np.float64]) -> tuple[int, ...]:
    """Return the source pixels around a tile that projections with these weights need.

    Parameters
    ----------
    forward : ForwardModel
        The instrument.
    weights : ndarray
        Of all projections.

    Raises
    ------
    InputError
        If the blur is too wide for the smallest of them.
    """
    least = float(weights.min())
    return (0,) * forward.ndim if math.isinf(least) else gram_of(forward).influence(least)


def read_projections(described: dict[str, Any]) -> Projections:
    """Read what `Projections.summary` wrote.

    Parameters
    ----------
    described : dict
        As written.

    Returns
    -------
    Projections
        Without a margin, and without limits: these belong to a run.

    Raises
    ------
    KeyError, TypeError, ValueError
        If something is missing, or makes no sense.
    InputError
        If the instrument does not.
    """
    forward = read_instrument(described)
    weight = np.array(described["weight"], dtype=float)
    weight[np.isnan(weight)] = math.inf
    before = np.array(described["chi_square_before"], dtype=float)
    if (weight < 0).any() or before.shape != weight.shape:
        msg = "weights are from 0 up, with a chi-square each"
        raise ValueError(msg)
    return Projections(forward, weight, before, (0,) * forward.ndim)


def _listed(values: NDArray[np.float64]) -> Any:
    """Turn an array into lists, with None for what JSON has no number for."""
    listed = values.astype(object)
    listed[~np.isfinite(values)] = None
    return listed.tolist()


def _keep_within(
    moved: Tensor,
    fine: Tensor,
    source: Tensor,
    factor: tuple[int, ...],
    limits: tuple[float, float],
) -> None:
    """Project, in place, those pixels that would be clipped, so that their mean is kept.

    The nearest values within limits that have a given mean are those that were
    shifted by one number and then clipped.
    """
    low, high = limits
    blocks, before = _blocks(moved, factor), _blocks(fine, factor)
    where = ((blocks < low) | (blocks > high)).flatten(source.ndim).any(-1)
    if not bool(where.any()):
        return
    values = before[where].flatten(1).double()
    wanted = source[where].double().clamp(low, high)
    least, most = low - values.amax(1), high - values.amin(1)
    for _ in range(_HALVINGS):
        shift = (least + most) / 2
        below = (values + shift[:, None]).clamp(low, high).mean(1) < wanted
        least, most = torch.where(below, shift, least), torch.where(below, most, shift)
    shift = (least + most) / 2
    kept = (values + shift[:, None]).clamp(low, high).float()
    blocks[where] = kept.reshape(-1, *factor)


def _blocks(image: Tensor, factor: tuple[int, ...]) -> Tensor:
    """View an image as (n, *coarse, *factor)."""
    shape = [image.shape[0]]
    for n, k in zip(image.shape[1:], factor, strict=True):
        shape += [n // k, k]
    ndim = len(factor)
    order = [0, *range(1, 2 * ndim, 2), *range(2, 2 * ndim + 1, 2)]
    return image.view(shape).permute(order)
