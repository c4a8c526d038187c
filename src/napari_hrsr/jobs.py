"""A run, described completely before it starts.

A `Job` knows its tiles, the size of its result and how it will be recorded,
but has read no pixel yet. ``start_job`` yields from the one generator.
"""

from __future__ import annotations

import math
import operator
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import napari_hrsr
from napari_hrsr.axes import Axes, check_names, default_names, resolve_axes
from napari_hrsr.crossfading import MARGIN
from napari_hrsr.devices import (
    Placement,
    check_tile,
    choose_batch,
    choose_tile,
    resolve_device,
    resolve_precision,
)
from napari_hrsr.errors import InputError, ModelError
from napari_hrsr.forward import ForwardModel, Instrument, check_instrument
from napari_hrsr.intensity import Intensity
from napari_hrsr.models.catalog import default_model
from napari_hrsr.models.compose import on_grey
from napari_hrsr.models.load import ModelChoice, load_chain
from napari_hrsr.models.spec import ModelSpec, Upscaler
from napari_hrsr.pixels import check_source
from napari_hrsr.projecting import Projections
from napari_hrsr.regridding import Regrid, result_bounds
from napari_hrsr.tiling import TilePlan, plan_tiles
from napari_hrsr.upscaling import TileDone, count_tiles, tile_region, upscale_tiles

Region = Sequence[tuple[int, int] | None]

_SIDE, _DEPTH = 1024, 32
"""Longest chunk along a plane, and across it."""

_MANY_FILES = 20_000
"""Chunks above this number share files."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A run that can be started.

    Attributes
    ----------
    source : array-like
        The image.
    model : Upscaler
        The loaded model.
    axes : Axes
        The roles of the image's axes.
    plan : TilePlan
        The tiles.
    placement : Placement
        Device, precision and batch.
    start : tuple of int
        First source pixel of the upscaled region on every axis of the image.
    shape : tuple of int
        Shape of the result.
    dtype : numpy.dtype
        Data type of the result.
    regrid : Regrid or None
        What takes the network's result to another grid.
    consistent : ForwardModel or None
        The instrument whose source the result is held to; see
        `projection_weight.settle_projection`.
    """

    source: Any
    model: Upscaler
    axes: Axes
    plan: TilePlan
    placement: Placement
    start: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    regrid: Regrid | None = None
    consistent: ForwardModel | None = None

    @property
    def total(self) -> int:
        """Number of tiles."""
        return count_tiles(self.plan, self.axes, self.shape)

    @property
    def nbytes(self) -> int:
        """Size of the result in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def factor(self) -> tuple[float, ...]:
        """Pixels of the result in one of the source, on every axis of the image."""
        return self.axes.spread(self._spatial_factor)

    @property
    def origin(self) -> tuple[float, ...]:
        """Where the result's first outer edge lies on every axis, in source pixels."""
        if self.regrid is None:
            return self.start
        starts = zip(self.start, self.source.shape, self.factor, strict=True)
        return tuple(result_bounds(start, start, n, k)[0] / k for start, n, k in starts)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunks for a result on disk: every tile owns whole ones.

        Those of volumes are flat, so that a plane can be looked at without
        reading the depth of a tile.
        """
        bodies = self._written
        chunks = [_chunk(body, _SIDE) for body in bodies]
        if len(self.axes.spatial) == 3:
            depth = self.axes.spatial[0]
            chunks[depth] = _chunk(bodies[depth], _DEPTH)
        if self.axes.samples is not None:
            chunks[self.axes.samples] = self.shape[self.axes.samples]
        return tuple(chunks)

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Files for a result on disk: one a tile where chunks would be very many."""
        chunks = self.chunks
        files = math.prod(math.ceil(n / c) for n, c in zip(self.shape, chunks, strict=True))
        shards = tuple(
            max(1, min(n, body)) for n, body in zip(self.shape, self._written, strict=True)
        )
        whole = all(s % min(c, s) == 0 for s, c in zip(shards, chunks, strict=True))
        return shards if files > _MANY_FILES and whole and shards != chunks else None

    @property
    def _written(self) -> tuple[int, ...]:
        """Pixels of the result that a tile writes, per axis."""
        bodies = zip(self.axes.spread(self.plan.tile), self.factor, strict=True)
        lengths = [math.ceil(body * k) for body, k in bodies]
        if self.axes.samples is not None:
            lengths[self.axes.samples] = self.shape[self.axes.samples]
        return tuple(lengths)

    def region_of(self, tile: int) -> tuple[tuple[int, int], ...]:
        """Return what a tile writes: first and one past the last pixel on every axis."""
        return tile_region(tile, self.plan, self.axes, self.shape, self._spatial_factor)

    @property
    def _spatial_factor(self) -> tuple[float, ...]:
        return self.model.spec.scale if self.regrid is None else self.regrid.factor


def plan_job(
    image: Any,
    model: ModelChoice | None = None,
    *,
    axes: str | None = None,
    tile: int | Sequence[int] | None = None,
    device: str = "auto",
    precision: str = "auto",
    dtype: Any = None,
    region: Region | None = None,
    regrid: Regrid | None = None,
    consistent: ForwardModel | Instrument | bool = False,
) -> Job:
    """Check everything that can be checked without reading pixels, and plan.

    Parameters
    ----------
    image : array-like
        numpy, memory map, zarr or dask array.
    model : str, Path, Upscaler or a sequence of them, optional
        A model, its name or its file, or several that run one after another.
        By default the x2 model that ships for the image's number of spatial axes.
    axes : str, optional
        One letter per axis; needed above three axes.
    tile : int or sequence of int, optional
        Longest tile, without halo, in source pixels.
    device, precision : str
        As `devices.resolve_device` and `devices.resolve_precision` take them.
    dtype : optional
        Data type of the result, by default the image's; float32 for a model
        that gives values of its own.
    region : sequence of (int, int) or None, optional
        Part of the image to upscale, per axis: first and one past the last
        pixel, or None for the whole axis.
    regrid : Regrid, optional
        What takes the network's result to another grid.
    consistent : bool, ForwardModel or Instrument
        As for `api.upscale`; such a job must be settled before it is started.

    Returns
    -------
    Job
        Ready to start.

    Raises
    ------
    InputError, ModelError, DeviceError
        If something does not fit, with the remedy.
    """
    source = check_source(image)
    shape = tuple(int(n) for n in source.shape)
    names = default_names(len(shape)) if axes is None else check_names(axes, len(shape))
    if model is None:
        model = default_model(3 if "Z" in names else 2)
    upscaler = load_chain(model)
    roles = resolve_axes(names, upscaler.spec.ndim)
    if roles.samples is None:
        upscaler = on_grey(upscaler)
    spec = upscaler.spec
    _check_samples(roles, shape, spec)
    instrument = check_instrument(consistent, spec.scale)
    if instrument is not None and not spec.restored:
        msg = (
            f"model {spec.name!r} gives values of its own, not the image's: "
            "its result cannot be held to its source"
        )
        raise ModelError(msg)
    spans = _check_region(region, shape, roles)
    spatial = roles.pick_spatial(shape)
    place = resolve_device(device)
    precise = resolve_precision(precision, spec, place)
    bounds = [spans[axis] for axis in roles.spatial]
    extent = [stop - start for start, stop in bounds]
    chosen = choose_tile(spec, extent, place) if tile is None else check_tile(tile, spec.ndim)
    halo = _halo(spec, chosen, extent, spatial)
    if regrid is not None:
        halo = tuple(h + m for h, m in zip(halo, regrid.margin, strict=True))
    if roles.samples is not None:
        # Opacity is interpolated linearly, which reads one neighbour.
        halo = tuple(max(1, h) for h in halo)
    plan = plan_tiles(
        spatial, chosen, halo=halo, multiple=spec.multiple, minimum=spec.minimum, region=bounds
    )
    factor = roles.spread(spec.scale if regrid is None else regrid.factor)
    bounds = [result_bounds(a, b, n, k) for (a, b), n, k in zip(spans, shape, factor, strict=True)]
    return Job(
        source=source,
        model=upscaler,
        axes=roles,
        plan=plan,
        placement=Placement(place, precise, choose_batch(spec, plan.read, place)),
        start=tuple(start for start, _ in spans),
        shape=tuple(b - a for a, b in bounds),
        dtype=_result_dtype(source.dtype if spec.restored else np.float32, dtype),
        regrid=regrid,
        consistent=instrument,
    )


def start_job(
    job: Job,
    out: Any,
    intensity: Intensity,
    *,
    indices: Iterable[int] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[TileDone]:
    """Yield from the one generator; see `upscaling.upscale_tiles`."""
    if job.consistent is not None and job.regrid is None:
        msg = "a job that is held to its source must be settled first: see settle_projection"
        raise ValueError(msg)
    return upscale_tiles(
        job.source,
        job.model,
        out,
        job.plan,
        axes=job.axes,
        intensity=intensity,
        regrid=job.regrid,
        placement=job.placement,
        first=job.axes.pick_looped(job.start),
        indices=indices,
        cancelled=cancelled,
    )


def describe_job(job: Job, intensity: Intensity, *, source_name: str = "") -> dict[str, Any]:
    """Record how a result was made, in values that JSON can hold.

    Parameters
    ----------
    job : Job
        The run.
    intensity : Intensity
        The range and noise that it used.
    source_name : str
        Base name of the source's file or layer; never a path.
    """
    spec = job.model.spec
    return {
        "software": "napari-hrsr",
        "version": napari_hrsr.__version__,
        "model": spec.name,
        "weights_sha256": spec.weights.sha256 if spec.weights else None,
        **({"chain": [_part(part) for part in spec.parts]} if spec.parts else {}),
        **({"caution": spec.caution} if spec.caution else {}),
        "factor": list(job.factor),
        "axes": job.axes.names,
        "source": source_name,
        "source_shape": list(job.source.shape),
        "region": _region_of(job),
        "dtype": str(job.dtype),
        "tile": list(job.plan.tile),
        "halo": list(job.plan.halo),
        "device": job.placement.device.type,
        "precision": str(job.placement.dtype).removeprefix("torch."),
        "intensity": intensity.summary(),
        **({"consistent": job.regrid.summary()} if isinstance(job.regrid, Projections) else {}),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }


def _part(spec: ModelSpec) -> dict[str, Any]:
    """Record a model of a chain."""
    return {
        "model": spec.name,
        "task": spec.task,
        "factor": list(spec.scale),
        "weights_sha256": spec.weights.sha256 if spec.weights else None,
    }


def _region_of(job: Job) -> list[list[int]]:
    """First and one past the last source pixel of every axis."""
    region = [[start, start + n] for start, n in zip(job.start, job.shape, strict=True)]
    for axis, bounds in zip(job.axes.spatial, job.plan.region, strict=True):
        region[axis] = list(bounds)
    return region


def _chunk(length: int, longest: int) -> int:
    """Return the longest useful divisor of a length, or the length where there is none."""
    wanted = range(min(length, longest), longest // 4, -1)
    return next((side for side in wanted if length % side == 0), length)


def _halo(
    spec: ModelSpec, tile: Sequence[int], extent: Sequence[int], shape: Sequence[int]
) -> tuple[int, ...]:
    """Return a model's halo, or the margin over which tiles without one are faded."""
    if spec.halo is not None:
        return spec.halo
    margin = MARGIN[spec.ndim]
    axes = zip(tile, extent, shape, strict=True)
    return tuple(margin if t < n or n < length else 0 for t, n, length in axes)


def _check_samples(axes: Axes, shape: tuple[int, ...], spec: ModelSpec) -> None:
    count = 1 if axes.samples is None else shape[axes.samples]
    if count not in (1, 2, 3, 4):
        msg = (
            f"the colour axis S has {count} samples; RGB has 3 and RGBA has 4: "
            "name it C if these are channels"
        )
        raise InputError(msg)
    colours = count - 1 if axes.has_alpha(shape) else count
    if spec.channels not in (1, colours):
        msg = (
            f"model {spec.name!r} needs {spec.channels} colour samples, the image has {colours}: "
            "choose another model, or name the colour axis S"
        )
        raise ModelError(msg)


def _check_region(
    region: Region | None, shape: tuple[int, ...], axes: Axes
) -> tuple[tuple[int, int], ...]:
    if region is None:
        return tuple((0, n) for n in shape)
    if len(region) != len(shape):
        msg = f"the region must have one entry per axis ({len(shape)}), got {len(region)}"
        raise InputError(msg)
    try:
        spans = tuple(
            (0, n) if r is None else (operator.index(r[0]), operator.index(r[1]))
            for r, n in zip(region, shape, strict=True)
        )
    except (TypeError, IndexError):
        msg = f"a region is (first, stop) in whole pixels or None for every axis, got {region!r}"
        raise InputError(msg) from None
    for axis, ((start, stop), n) in enumerate(zip(spans, shape, strict=True)):
        if not 0 <= start < stop <= n or (axis == axes.samples and (start, stop) != (0, n)):
            msg = f"the region {start}:{stop} on axis {axes.names[axis]} does not lie in 0:{n}"
            raise InputError(msg)
    return spans


def _result_dtype(source: Any, wanted: Any) -> np.dtype[Any]:
    if wanted is None:
        native: np.dtype[Any] = np.dtype(source).newbyteorder("=")
        return native
    try:
        dtype: np.dtype[Any] = np.dtype(wanted)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        msg = f"the result cannot have type {wanted!r}: use an integer or floating-point type"
        raise InputError(msg)
    return dtype
