"""The part of an image that a region of the result depends on, as the network gets it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_hrsr.devices import float32_means_float32
from napari_hrsr.errors import CancelledError, ComputeError, HrsrError, InputError
from napari_hrsr.intensity import Intensity, measure_intensity, wanted_levels
from napari_hrsr.jobs import Job, Region, plan_job
from napari_hrsr.models.load import load_model
from napari_hrsr.models.spec import Upscaler
from napari_hrsr.tile_reading import read_tile
from napari_hrsr.upscaling import normalisation

Bounds = tuple[tuple[int, int], ...]

_SIDE = {2: 16, 3: 6}
"""Pixels of the source along each side of a region that nobody chose."""


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A network with the input that a region needs.

    Attributes
    ----------
    model : Upscaler
        A copy of one's own, on the processor, in float32.
    batch : Tensor
        Shape (1, C, *read), in the model's range.
    level : Tensor or None
        Standard deviation of the noise, in the same units, if the model takes it.
    region : tuple of (int, int)
        What is asked about: first and one past the last source pixel, per
        spatial axis.
    read : tuple of (int, int)
        What `batch` holds; it may reach past the far end of the image, where it
        is mirrored.
    shape : tuple of int
        Spatial shape of the image.
    span : float
        From the image's black to its white, in the model's units.
    """

    model: Upscaler
    batch: Tensor
    level: Tensor | None
    region: Bounds
    read: Bounds
    shape: tuple[int, ...]
    span: float

    def run(self, batch: Tensor) -> Tensor:
        """Upscale images of the shape of `batch`; returns (N, C, *(read * scale)).

        Raises
        ------
        ComputeError
            If the network fails.
        """
        level = None if self.level is None else self.level.expand(len(batch), *self.level.shape[1:])
        try:
            with float32_means_float32():
                return self.model(batch, noise=level)
        except HrsrError:
            raise
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            msg = f"model {self.model.spec.name!r} failed on a part of the image: {reason}"
            raise ComputeError(msg) from error

    def wanted(self, upscaled: Tensor) -> Tensor:
        """Cut the region out of a result."""
        bounds = zip(self.region, self.read, self.model.spec.scale, strict=True)
        crop = [slice((a - r) * k, (b - r) * k) for (a, b), (r, _), k in bounds]
        return upscaled[(slice(None), slice(None), *crop)]

    def inside(self, image: NDArray[Any]) -> NDArray[Any]:
        """Cut what is mirrored off an array of the shape of `read`."""
        crop = tuple(
            slice(0, min(b, n) - a) for (a, b), n in zip(self.read, self.shape, strict=True)
        )
        return np.asarray(image[crop])

    @property
    def start(self) -> tuple[int, ...]:
        """First source pixel of `batch`, per spatial axis."""
        return tuple(a for a, _ in self.read)


def prepare(
    model: str | Path | Upscaler,
    image: Any,
    region: Region | None,
    *,
    axes: str | None,
    intensity: Intensity | None,
    largest: int,
    margin: int = 0,
    whole: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
) -> Probe:
    """Read what a region depends on, and prepare it as the engine does.

    Parameters
    ----------
    model : str, Path or Upscaler
        As `jobs.plan_job` takes it.
    image : array-like
        The source.
    region : sequence of (int, int) or None
        Per axis of the image, in its pixels. On axes that are looped over the
        first index counts. None, or None on a spatial axis: the middle.
    axes : str, optional
        One letter per axis.
    intensity : Intensity, optional
        As it was measured for a run; measured if left out.
    largest : int
        Pixels that may be read.
    margin : int
        Source pixels that are read beyond what is needed.
    whole : bool
        Whether None means the whole axis rather than its middle.
    cancelled : callable
        Polled while the image is measured.

    Raises
    ------
    InputError
        If the region does not lie in the image, or is too large.
    """
    upscaler = model if isinstance(model, Upscaler) else load_model(model)
    job = plan_job(image, upscaler, axes=axes, region=None, device="cpu", precision="float32")
    chosen = _choose(job, region, whole)
    wide = [
        (max(0, a - margin), min(n, b + margin))
        for (a, b), n in zip(chosen, job.plan.shape, strict=True)
    ]
    full: list[tuple[int, int] | None] = [None] * job.axes.ndim
    for axis, index in zip(job.axes.looped, _loop(job, region), strict=True):
        full[axis] = (index, index + 1)
    unbounded = upscaler.spec.halo is None
    for axis, bounds, n in zip(job.axes.spatial, wide, job.plan.shape, strict=True):
        full[axis] = (0, n) if unbounded else bounds
    lengths = [full[axis][1] - full[axis][0] for axis in job.axes.spatial]  # type: ignore[index]
    job = plan_job(
        image, upscaler, axes=axes, region=full, tile=lengths, device="cpu", precision="float32"
    )
    spans = job.plan[0]
    size = math.prod(span.read_stop - span.read_start for span in spans)
    if size > largest or len(job.plan) > 1:
        msg = (
            f"a region of {' x '.join(str(b - a) for a, b in chosen)} pixels needs {size} pixels "
            f"of the image, and at most {largest} are possible here: choose a smaller region"
        )
        if unbounded:
            msg += ", or a model that does not look at the whole image"
        raise InputError(msg)
    if intensity is None:
        intensity = measure_intensity(
            job.source, job.axes, levels=wanted_levels(job.model.spec), cancelled=cancelled
        )
    loop = job.axes.pick_looped(job.start)
    block = read_tile(job.source, job.axes, loop, spans, job.plan).astype(np.float64)
    if job.axes.has_alpha(job.source.shape):
        block = block[:-1]
    if upscaler.spec.channels == 1:
        block = block.mean(axis=0, keepdims=True)
    low, high, noise = intensity.at(loop)
    offset, gain = normalisation(upscaler.spec, np.dtype(job.source.dtype), low, high)
    batch = torch.from_numpy(((block - offset) / gain).astype(np.float32))[None]
    level = None
    if upscaler.spec.noise_input:
        level = torch.full((1, 1, *(1,) * upscaler.spec.ndim), noise / gain)
    return Probe(
        _private(upscaler), batch, level, chosen,
        tuple((span.read_start, span.read_stop) for span in spans), job.plan.shape,
        max((high - low) / gain, 1e-9),
    )  # fmt: skip


def stop_if(cancelled: Callable[[], bool]) -> None:
    """Raise `CancelledError` once a run is cancelled."""
    if cancelled():
        msg = "cancelled while the network was explained"
        raise CancelledError(msg)


def _private(model: Upscaler) -> Upscaler:
    if not isinstance(model, nn.Module):
        return model
    copied = copy.deepcopy(model).eval().requires_grad_(False).to("cpu", torch.float32)
    assert isinstance(copied, Upscaler)
    return copied


def _choose(job: Job, region: Region | None, whole: bool) -> Bounds:
    given = [None] * job.axes.ndim if region is None else list(region)
    if len(given) != job.axes.ndim:
        msg = f"the region must have one entry per axis ({job.axes.ndim}), got {len(given)}"
        raise InputError(msg)
    chosen = []
    side = _SIDE[job.model.spec.ndim]
    for axis, n in zip(job.axes.spatial, job.plan.shape, strict=True):
        bounds = given[axis]
        if bounds is None and whole:
            bounds = (0, n)
        elif bounds is None:
            first = max(0, (n - side) // 2)
            bounds = (first, min(n, first + side))
        if not 0 <= bounds[0] < bounds[1] <= n:
            msg = f"the region {bounds[0]}:{bounds[1]} on axis {axis} does not lie in 0:{n}"
            raise InputError(msg)
        chosen.append((int(bounds[0]), int(bounds[1])))
    return tuple(chosen)


def _loop(job: Job, region: Region | None) -> Sequence[int]:
    found = []
    for axis, n in zip(job.axes.looped, job.axes.pick_looped(job.source.shape), strict=True):
        bounds = None if region is None else region[axis]
        index = 0 if bounds is None else int(bounds[0])
        if not 0 <= index < n:
            msg = f"index {index} on axis {axis} does not lie in 0:{n}"
            raise InputError(msg)
        found.append(index)
    return found
