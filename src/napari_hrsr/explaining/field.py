"""How far a network looks, measured with gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_hrsr.explaining.attributing import LARGEST
from napari_hrsr.explaining.probing import Bounds, prepare, stop_if
from napari_hrsr.intensity import Intensity
from napari_hrsr.jobs import Region
from napari_hrsr.models.spec import Upscaler

_BEYOND = 2
"""Source pixels beyond the stated halo that are looked at too."""

_INPUTS = 4
"""Random images that are tried beside the image itself: a rectifier may close a way."""

_MOST = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class ReceptiveField:
    """Which pixels of the source can change a region of the result.

    Attributes
    ----------
    influence : ndarray
        Spatial axes of the part of the source that was looked at, float32: root
        mean square of the gradients of the region's pixels, 1 at most.
    start : tuple of int
        First source pixel of `influence`, per spatial axis.
    region : tuple of (int, int)
        What was asked about, in source pixels.
    bounds : tuple of (int, int)
        Measured: the box of pixels with any influence.
    core : tuple of (int, int)
        The smallest box around the region, alike in all directions as far as
        the image goes, that holds 95 % of the squared influence.
    stated : tuple of (int, int) or None
        The region with the model's halo, within the image; None if it is unbounded.
    """

    influence: NDArray[np.float32]
    start: tuple[int, ...]
    region: Bounds
    bounds: Bounds
    core: Bounds
    stated: Bounds | None


def receptive_field(
    model: str | Path | Upscaler,
    image: Any,
    region: Region | None = None,
    *,
    axes: str | None = None,
    intensity: Intensity | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> ReceptiveField:
    """Measure which pixels of the source can change a region of the result.

    Gradients of the region's pixels, with random signs, are taken at the image
    itself and at random images (Luo et al., Understanding the effective
    receptive field, 2016).

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
    cancelled : callable
        Polled between gradients.

    Returns
    -------
    ReceptiveField

    Raises
    ------
    InputError
        If the region does not fit.
    CancelledError
        If `cancelled` returned True.
    """
    probe = prepare(
        model, image, region, axes=axes, intensity=intensity, largest=LARGEST, margin=_BEYOND,
        cancelled=cancelled,
    )  # fmt: skip
    random = torch.Generator().manual_seed(0)
    low, high = probe.model.spec.value_range
    squares = np.zeros(probe.batch.shape[2:])
    for number in range(1 + _INPUTS):
        stop_if(cancelled)
        point = probe.batch.clone()
        if number:
            point = low + (high - low) * torch.rand(point.shape, generator=random)
        point.requires_grad_()
        with torch.enable_grad():
            wanted = probe.wanted(probe.run(point))
            signs = torch.randint(0, 2, wanted.shape, generator=random) * 2.0 - 1.0
            (gradient,) = torch.autograd.grad((wanted * signs).sum(), point)
        squares += gradient[0].square().sum(0).double().numpy()
    squares = probe.inside(squares)
    influence = np.sqrt(squares / max(float(squares.max()), 1e-300)).astype(np.float32)
    halo = probe.model.spec.halo
    stated = None
    if halo is not None:
        stated = _grown(probe.region, halo, probe.shape)
    return ReceptiveField(
        influence=influence,
        start=probe.start,
        region=probe.region,
        bounds=_box(squares, probe.start, probe.region),
        core=_core(squares, probe.start, probe.region),
        stated=stated,
    )


def _grown(region: Bounds, by: tuple[int, ...], shape: tuple[int, ...]) -> Bounds:
    return tuple(
        (max(0, a - h), min(n, b + h)) for (a, b), h, n in zip(region, by, shape, strict=True)
    )


def _box(squares: NDArray[np.float64], start: tuple[int, ...], region: Bounds) -> Bounds:
    if not squares.any():
        return region
    places = np.nonzero(squares)
    return tuple(
        (int(at.min()) + s, int(at.max()) + 1 + s) for at, s in zip(places, start, strict=True)
    )


def _core(squares: NDArray[np.float64], start: tuple[int, ...], region: Bounds) -> Bounds:
    ends = tuple(s + n for s, n in zip(start, squares.shape, strict=True))
    by, box = 0, region
    while True:
        inner = tuple(slice(a - s, b - s) for (a, b), s in zip(box, start, strict=True))
        if squares[inner].sum() >= _MOST * squares.sum():
            return box
        by += 1
        box = tuple(
            (max(s, a - by), min(e, b + by))
            for (a, b), s, e in zip(region, start, ends, strict=True)
        )
