"""Which pixels of the source a region of the result was made from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_hrsr.errors import InputError
from napari_hrsr.explaining.probing import Bounds, Probe, prepare, stop_if
from napari_hrsr.intensity import Intensity
from napari_hrsr.jobs import Region
from napari_hrsr.models.spec import Upscaler

LARGEST = 2**17
"""Pixels of the source that gradients are computed for at most."""

BLUR = 1.2
"""Standard deviation of the blur that the path begins with, pixels of the source."""

STEPS = 48

_TOGETHER = 2
"""Steps that are computed at once."""

_WINDOW = 64
"""Pixels along each axis that the diffusion index is about."""

_SMOOTH = 1e-3
"""Gradient, over the image's range, below which it no longer counts in full."""


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """How much each pixel of the source adds to the structure of a region.

    Attributes
    ----------
    data : ndarray
        Spatial axes of the part of the source that the region depends on,
        float32; colours are added up. Positive: the pixel adds structure.
    start : tuple of int
        First source pixel of `data`, per spatial axis.
    region : tuple of (int, int)
        What was explained, in source pixels.
    diffusion_index : float
        0 (one pixel) to 100 (all pixels of a window of 64 pixels along each
        axis alike): ``100 (1 - Gini coefficient)`` of the absolute values.
    reach : float
        Source pixels around the region, in the direction that needs most,
        within which 90 % of the absolute attribution lies.
    sharp, blurred : float
        Structure of the region made from the image, and from the blurred image:
        sums of local gradients, over the image's range.
    """

    data: NDArray[np.float32]
    start: tuple[int, ...]
    region: Bounds
    diffusion_index: float
    reach: float
    sharp: float
    blurred: float

    @property
    def missing(self) -> float:
        """What the attributions do not add up to, over the structure; 0 with endless steps."""
        missing = float(self.data.sum(dtype=np.float64)) - (self.sharp - self.blurred)
        return abs(missing) / max(self.sharp, self.blurred, 1e-12)


def attribution(
    model: str | Path | Upscaler,
    image: Any,
    region: Region | None = None,
    *,
    axes: str | None = None,
    intensity: Intensity | None = None,
    blur: float = BLUR,
    steps: int = STEPS,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Attribution:
    """Attribute the structure of a region of the result to pixels of the source.

    Local attribution maps (Gu and Dong, Interpreting super-resolution networks
    with local attribution maps, CVPR 2021): the source is made sharp, step by
    step, from a blurred copy of itself. At each step the gradient of the
    region's structure (the sum of its local gradients) with respect to the
    source says what each pixel's change does to it; added up along that path
    they are integrated gradients, which sum to the structure that the blur
    takes away.

    Only the part of the image that the region depends on is computed.

    Parameters
    ----------
    model : str, Path or Upscaler
        A model, its name or its file.
    image : array-like
        The source.
    region : sequence of (int, int) or None, optional
        Per axis of the image, in its pixels; None for the middle.
    axes : str, optional
        One letter per axis.
    intensity : Intensity, optional
        As it was measured for a run.
    blur : float
        Standard deviation with which the path begins, pixels of the source.
    steps : int
        Along the path.
    progress : callable, optional
        Called with the number of steps done and in total.
    cancelled : callable
        Polled between steps.

    Returns
    -------
    Attribution

    Raises
    ------
    InputError
        If the region does not fit, or a number makes no sense.
    CancelledError
        If `cancelled` returned True.
    """
    if not (math.isfinite(blur) and blur > 0) or steps < 1:
        msg = f"blur and steps must be above 0, got {blur!r} and {steps!r}"
        raise InputError(msg)
    margin = math.ceil(4 * blur)
    wide = prepare(
        model, image, region, axes=axes, intensity=intensity, largest=LARGEST, margin=margin,
        cancelled=cancelled,
    )  # fmt: skip
    path = _Path(wide, blur, steps)
    total = torch.zeros_like(wide.batch[0])
    for first in range(0, steps, _TOGETHER):
        stop_if(cancelled)
        numbers = range(first, min(steps, first + _TOGETHER))
        points = torch.cat([path.at(n + 0.5) for n in numbers]).requires_grad_()
        with torch.enable_grad():
            value = _structure(wide, points).sum()
            (gradient,) = torch.autograd.grad(value, points)
        for n, slope in zip(numbers, gradient, strict=True):
            total += slope * (path.at(n + 1) - path.at(n))[0]
        if progress is not None:
            progress(numbers[-1] + 1, steps)
    stop_if(cancelled)
    with torch.no_grad():
        ends = [float(_structure(wide, path.at(n))) for n in (0, steps)]
    data = wide.inside(total.sum(0).numpy())
    return Attribution(
        data=data,
        start=wide.start,
        region=wide.region,
        diffusion_index=_diffusion(data),
        reach=_reach(data, wide.start, wide.region),
        sharp=ends[1],
        blurred=ends[0],
    )


class _Path:
    """The image, from blurred (0) to sharp (the number of steps)."""

    def __init__(self, probe: Probe, blur: float, steps: int) -> None:
        self._image, self._blur, self._steps = probe.batch, blur, steps

    def at(self, position: float) -> Tensor:
        sigma = self._blur * (1 - position / self._steps)
        image = self._image
        if sigma <= 0:
            return image
        radius = math.ceil(4 * self._blur)
        distance = torch.arange(-radius, radius + 1, dtype=torch.float64)
        kernel = torch.exp(-0.5 * (distance / sigma) ** 2)
        kernel = (kernel / kernel.sum()).to(image.dtype)
        for axis in range(2, image.ndim):
            image = _convolve(image, kernel, axis)
        return image


def _convolve(image: Tensor, kernel: Tensor, axis: int) -> Tensor:
    """Convolve along an axis; the image is continued by its edge pixels."""
    moved = image.movedim(axis, -1)
    flat = moved.reshape(-1, 1, moved.shape[-1])
    radius = len(kernel) // 2
    blurred = F.conv1d(F.pad(flat, (radius, radius), mode="replicate"), kernel[None, None])
    return blurred.reshape(moved.shape).movedim(-1, axis)


def _structure(probe: Probe, images: Tensor) -> Tensor:
    """Return the sum of local gradients that the region is given by each image; shape (N,)."""
    result = probe.wanted(probe.run(images)) / probe.span
    squares = torch.zeros_like(result)
    for axis in range(2, result.ndim):
        if result.shape[axis] > 1:
            step = result.diff(dim=axis)
            last = torch.zeros_like(step.narrow(axis, 0, 1))
            squares = squares + torch.cat([step, last], dim=axis) ** 2
    # The root of a sum of squares has no gradient where there is no structure at all.
    size = torch.sqrt(squares + _SMOOTH**2) - _SMOOTH
    return size.flatten(1).sum(1)


def _diffusion(data: NDArray[np.float32]) -> float:
    """Return 100 (1 - Gini coefficient), over a window of at least 64 pixels an axis."""
    values: NDArray[np.float64] = np.sort(np.abs(data.astype(np.float64)).ravel())
    total = float(values.sum())
    if total == 0:
        return 0.0
    count = max(values.size, _WINDOW**data.ndim)
    # Pixels outside what the region depends on count, with nothing: they sort first.
    rank = np.arange(count - values.size + 1, count + 1)
    gini = float(((2 * rank - count - 1) * values).sum()) / (count * total)
    return float(100 * (1 - gini))


def _reach(data: NDArray[np.float32], start: Sequence[int], region: Bounds) -> float:
    apart = np.zeros((1,) * data.ndim)
    for axis, (n, first, (a, b)) in enumerate(zip(data.shape, start, region, strict=True)):
        place = np.arange(first, first + n)
        outside = np.maximum(np.maximum(a - place, place - (b - 1)), 0)
        apart = np.maximum(
            apart, outside.reshape([-1 if i == axis else 1 for i in range(data.ndim)])
        )
    sums = np.bincount(apart.astype(int).ravel(), np.abs(data).astype(np.float64).ravel())
    inside = np.cumsum(sums) < 0.9 * sums.sum()
    return float(np.count_nonzero(inside))
