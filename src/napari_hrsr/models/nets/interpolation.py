"""Interpolation by whole factors: separable, polyphase, aligned by pixel areas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_hrsr.forward import keys_cubic

Method = Literal["nearest", "linear", "cubic", "lanczos"]


def _lanczos(distance: np.ndarray) -> np.ndarray:
    return np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)


_KERNELS: dict[str, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {
    "linear": (1, lambda d: np.maximum(0.0, 1.0 - np.abs(d))),
    "cubic": (2, keys_cubic),
    "lanczos": (3, _lanczos),
}
"""Method -> support in source pixels and the kernel as a function of distance."""


def phase_weights(method: Method, factor: int) -> tuple[int, np.ndarray]:
    """Return the weights with which each output pixel reads its source pixels.

    Output pixel ``factor * i + p`` is centred on source position
    ``i + (p + 0.5) / factor - 0.5``.

    Parameters
    ----------
    method : str
        ``"nearest"``, ``"linear"``, ``"cubic"`` (Keys 1981, a = -0.5) or
        ``"lanczos"`` (three lobes, weights normalised to a sum of one).
    factor : int
        Output pixels in a source pixel.

    Returns
    -------
    radius : int
        Source pixels read on each side of pixel ``i``.
    weights : ndarray
        Shape (factor, 2 * radius + 1); each row adds up to one.
    """
    if method == "nearest" or factor == 1:
        return 0, np.ones((factor, 1))
    support, kernel = _KERNELS[method]
    shift = (np.arange(factor) + 0.5) / factor - 0.5
    weights = kernel(np.arange(-support, support + 1)[None] - shift[:, None])
    weights /= weights.sum(1, keepdims=True)
    return support, weights


def interpolation_halo(method: Method, scale: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many source pixels on each side an output pixel depends on, per axis."""
    return tuple(phase_weights(method, k)[0] for k in scale)


class Interpolation(nn.Module):
    """Interpolate by a whole factor per axis.

    The outer edges of source and result coincide, the image is continued by
    its edge pixels, and constants are kept exactly.

    Parameters
    ----------
    ndim : int
        Number of spatial axes.
    scale : tuple of int
        Factor per spatial axis, 1 or more.
    method : str
        ``"nearest"``, ``"linear"``, ``"cubic"`` or ``"lanczos"``; see `phase_weights`.

    Raises
    ------
    ValueError
        If the arguments do not fit together.
    """

    def __init__(self, ndim: int, scale: tuple[int, ...], method: Method = "cubic") -> None:
        super().__init__()
        if len(scale) != ndim or any(k < 1 for k in scale):
            msg = f"scale must hold {ndim} whole numbers from 1 up, got {scale!r}"
            raise ValueError(msg)
        if method not in get_args(Method):
            msg = f"method must be one of {get_args(Method)}, got {method!r}"
            raise ValueError(msg)
        self.ndim, self.scale, self.method = ndim, tuple(scale), method
        self._plans = tuple(_difference_plan(method, k) for k in scale)

    @property
    def halo(self) -> tuple[int, ...]:
        """Source pixels on each side that an output pixel depends on, per axis."""
        return interpolation_halo(self.method, self.scale)

    def forward(self, batch: Tensor, noise: Tensor | None = None) -> Tensor:
        """Interpolate.

        Parameters
        ----------
        batch : Tensor
            Shape (N, C, *spatial), floating point.
        noise : Tensor, optional
            Not used.

        Returns
        -------
        Tensor
            Shape (N, C, *(spatial * scale)), same dtype and units.
        """
        # The largest factor last: the other axes are then worked on while the image is small.
        for axis in sorted(range(self.ndim), key=lambda a: self.scale[a]):
            if self.scale[axis] > 1:
                batch = _interpolate_axis(batch, axis - self.ndim, *self._plans[axis])
        return batch


def _difference_plan(method: Method, factor: int) -> tuple[int, list[list[tuple[int, float]]]]:
    """Return the radius and, for each phase, the weights of neighbouring differences.

    ``sum(w[j] x[j])`` with weights that add up to one is the centre pixel plus
    a weighted sum of the differences ``x[j + 1] - x[j]``. Written that way a
    constant stays exactly what it is in any precision, and the differences
    are shared by all phases.
    """
    radius, weights = phase_weights(method, factor)
    plans = []
    for row in weights:
        above = [float(row[j + 1 :].sum()) for j in range(2 * radius)]
        below = [float(row[: j + 1].sum()) for j in range(2 * radius)]
        steps = [(j, above[j] if j >= radius else -below[j]) for j in range(2 * radius)]
        plans.append([(j, w) for j, w in steps if abs(w) > 1e-9])
    return radius, plans


def _interpolate_axis(
    x: Tensor, axis: int, radius: int, plans: list[list[tuple[int, float]]]
) -> Tensor:
    length = x.shape[axis]
    if radius == 0:
        return x.repeat_interleave(len(plans), dim=axis)
    before, after = x.shape[:axis], x.shape[axis:][1:]
    folded = x.reshape(math.prod(before), 1, length, math.prod(after))
    padded = F.pad(folded, (0, 0, radius, radius), mode="replicate")
    steps = padded[:, :, 1:] - padded[:, :, :-1]
    phases = []
    for plan in plans:
        phase = folded
        for j, weight in plan:
            phase = torch.add(phase, steps.narrow(2, j, length), alpha=weight)
        phases.append(phase)
    stacked = torch.stack(phases, dim=3)
    return stacked.reshape(*before, length * len(plans), *after)
