"""The main path: one generator that every face of napari-hrsr drains.

``upscale_tiles`` reads a tile with its halo, normalises it with numbers that
were measured once for the whole image, runs the network, throws the halo
away, and writes what is left into the result::

    source --read--> tile + halo --network--> upscaled body --write--> out
            thread                  caller                   thread

After each written tile it yields a small record. Progress, cancelling and the
live view happen between two records.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_hrsr.axes import Axes
from napari_hrsr.crossfading import Crossfade, Faded
from napari_hrsr.devices import Placement
from napari_hrsr.errors import CancelledError, HrsrError, OutputError
from napari_hrsr.intensity import Intensity
from napari_hrsr.memory import keep_memory, release_memory
from napari_hrsr.models.nets.interpolation import Interpolation
from napari_hrsr.models.spec import ModelSpec, Upscaler
from napari_hrsr.pixels import cast_values
from napari_hrsr.regridding import Interval, Regrid, result_bounds
from napari_hrsr.running import Body, Runner
from napari_hrsr.tile_reading import read_tile
from napari_hrsr.tiling import Span, TilePlan

Region = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class TileDone:
    """One tile has been written.

    Attributes
    ----------
    index : int
        Its number among all tiles of the image.
    done, total : int
        How many tiles of this run are written, and how many there will be.
    region : tuple of (int, int)
        What was written: first and one past the last pixel of the result on
        every axis of the image.
    difference : float
        Of a network whose output depends on the whole image: the largest
        difference between the tiles that were faded into each other here, in
        the image's units. 0 for all others, whose tiles are exact.
    precision : str
        What it was computed in; ``"float32"`` where half precision did not hold
        it.
    """

    index: int
    done: int
    total: int
    region: Region
    difference: float = 0.0
    precision: str = "float32"


def upscale_tiles(
    source: Any,
    model: Upscaler,
    out: Any,
    plan: TilePlan,
    *,
    axes: Axes,
    intensity: Intensity,
    regrid: Regrid | None = None,
    placement: Placement | None = None,
    first: Sequence[int] | None = None,
    indices: Iterable[int] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[TileDone]:
    """Upscale an image tile by tile into `out`.

    Parameters
    ----------
    source : array-like
        The image: numpy, memory map, zarr or dask. It is never written to.
    model : Upscaler
        A fresh copy of it is prepared for this run.
    out : array-like
        Where the result goes; takes item assignment. Its length on a spatial
        axis is that of the plan's region times the model's factor.
    plan : TilePlan
        The tiles, over the spatial axes.
    axes : Axes
        The roles of the image's axes.
    intensity : Intensity
        Range and noise of the image.
    regrid : Regrid, optional
        A step that takes each tile from the network's grid to the result's;
        the length of `out` is then as `regridding.result_bounds` has it. The
        plan's halo must hold its margin beside the model's halo.
    placement : Placement, optional
        Device, precision and batch size; by default the CPU in float32.
    first : sequence of int, optional
        First index that is upscaled on each looped axis (default 0).
    indices : iterable of int, optional
        The tiles to compute and their order, among ``len(plan)`` times the
        lengths of the looped axes of `out`. By default all, in order.
    cancelled : callable, optional
        Polled between batches of tiles, and by some models within one; when it
        returns True the generator returns after the tiles that are already
        computed have been written.

    Yields
    ------
    TileDone
        One record per written tile, exactly as many as there are tiles.

    Raises
    ------
    OutOfMemoryError
        If even a small part of one tile does not fit.
    ComputeError
        If the network fails.
    InputError, OutputError
        If the image cannot be read, or the result cannot be written.
    """
    placement = placement or Placement(torch.device("cpu"))
    order = range(count_tiles(plan, axes, out.shape)) if indices is None else list(indices)
    job = _Job(source, out, model.spec, plan, axes, intensity, tuple(first or ()), regrid)
    runner = Runner(model, placement, plan.halo, cancelled)
    faded = job.faded(runner)
    done = itertools.count(1)

    def record(written: Future[list[tuple[int, Region]]]) -> Iterator[TileDone]:
        for index, region in written.result():
            apart, precise = differences.pop(index, 0.0), precisions.pop(index)
            yield TileDone(index, next(done), len(order), region, apart, precise)

    differences: dict[int, float] = {}
    precisions: dict[int, str] = {}

    try:
        with (
            keep_memory(),
            ThreadPoolExecutor(1, "hrsr-read") as reader,
            ThreadPoolExecutor(1, "hrsr-write") as writer,
        ):
            written: Future[list[tuple[int, Region]]] | None = None
            for tiles in _read_ahead(reader, job, _batched(order, placement.batch), cancelled):
                try:
                    results = job.run(runner, tiles, faded, differences)
                except CancelledError:
                    break
                precisions |= dict.fromkeys((tile.index for tile in tiles), runner.precision)
                if written is not None:
                    yield from record(written)
                written = writer.submit(job.write, tiles, results)
            if written is not None:
                yield from record(written)
    finally:
        del runner, faded
        release_memory(placement.device)


def count_tiles(plan: TilePlan, axes: Axes, shape: Sequence[int]) -> int:
    """Count the tiles of a run: those of the plan for every index that is looped over."""
    return len(plan) * math.prod(axes.pick_looped(shape))


@dataclass(frozen=True, slots=True)
class _Tile:
    """One tile on its way through the pipeline."""

    index: int
    spans: tuple[Span, ...]
    loop: tuple[int, ...]
    images: NDArray[np.float32]  # (images, channels, *read), in the model's range
    alpha: NDArray[np.float32] | None  # (1, 1, *read), in the image's units
    levels: tuple[float, float, float]  # offset and gain of the normalisation, noise


@dataclass(frozen=True, slots=True)
class _Job:
    """What stays the same from tile to tile, and the three stages of a tile."""

    source: Any
    out: Any
    spec: ModelSpec
    plan: TilePlan
    axes: Axes
    intensity: Intensity
    first: tuple[int, ...]
    regrid: Regrid | None = None

    def read_all(self, indices: Sequence[int]) -> list[_Tile]:
        """Read and normalise a batch of tiles."""
        return [self.read(index) for index in indices]

    def read(self, index: int) -> _Tile:
        """Read and normalise one tile."""
        axes = self.axes
        position, tile = divmod(index, len(self.plan))
        lengths = axes.pick_looped(self.out.shape)
        out_loop = tuple(int(i) for i in np.unravel_index(position, lengths)) if lengths else ()
        loop = tuple(
            i + f for i, f in zip(out_loop, self.first or (0,) * len(lengths), strict=True)
        )
        spans = self.plan[tile]
        block = read_tile(self.source, axes, loop, spans, self.plan)
        low, high, noise = self.intensity.at(loop)
        offset, gain = normalisation(self.spec, np.dtype(self.source.dtype), low, high)
        alpha = None
        if axes.has_alpha(self.source.shape):
            alpha = block[None, -1:].astype(np.float32)
            block = block[:-1]
        images = block.reshape(-1, self.spec.channels, *block.shape[1:])
        # Up to 16 bits fit float32 exactly; wider values are shifted before they are rounded.
        wide = images.dtype.itemsize > 2
        values: NDArray[Any] = images.astype(np.float64 if wide else np.float32, copy=False)
        scaled = ((values - offset) / gain).astype(np.float32, copy=False)
        return _Tile(index, spans, loop, scaled, alpha, (offset, gain, noise / gain))

    def faded(self, runner: Runner) -> Faded | None:
        """Return what mixes the tiles of a network that has no halo, if there are several."""
        if self.spec.halo is not None or len(self.plan) == 1:
            return None

        def compute(index: int, window: tuple[Interval, ...]) -> NDArray[np.float32]:
            runner.check()
            return self._upscaled(runner, [self.read(index)], [window])[0]

        return Faded(Crossfade(self.plan), self.spec.scale, compute)

    def run(
        self,
        runner: Runner,
        tiles: Sequence[_Tile],
        faded: Faded | None,
        differences: dict[int, float],
    ) -> list[NDArray[np.float32]]:
        """Upscale a batch of tiles; back in the image's units, samples first.

        What faded tiles differ by is noted under their numbers.
        """
        if faded is None:
            upscaled = self._upscaled(runner, tiles, [self._window(tile) for tile in tiles])
        else:
            upscaled = []
            for tile in tiles:
                mixed, apart = faded.mixed(tile.index, self._window(tile))
                upscaled.append(mixed)
                differences[tile.index] = apart * (tile.levels[1] if self.spec.restored else 1.0)
        results = []
        for tile, result in zip(tiles, upscaled, strict=True):
            offset, gain, _ = tile.levels
            if self.regrid is not None:
                result = self._regridded(tile, result, self.regrid.at(tile.loop))
            if self.spec.restored:
                result *= np.float32(gain)
                result += np.float32(offset)
            if tile.alpha is not None:
                result = np.concatenate([result, _upscale_alpha(tile, self.spec.scale)])
            results.append(result)
        return results

    def _upscaled(
        self, runner: Runner, tiles: Sequence[_Tile], windows: Sequence[tuple[Interval, ...]]
    ) -> list[NDArray[np.float32]]:
        """Run the network on tiles; return what it makes of a window of each, samples first."""
        images = np.concatenate([tile.images for tile in tiles])
        counts = [len(tile.images) for tile in tiles]
        noise = np.repeat([tile.levels[2] for tile in tiles], counts).astype(np.float32)
        bodies = [
            body
            for tile, window, n in zip(tiles, windows, counts, strict=True)
            for body in [_local(tile, window)] * n
        ]
        made = iter(runner.run(images, noise, bodies))
        return [np.concatenate(list(itertools.islice(made, count))) for count in counts]

    def _window(self, tile: _Tile) -> tuple[Interval, ...]:
        """Source pixels that the network's result is wanted of."""
        bodies = tuple((span.body_start, span.body_stop) for span in tile.spans)
        if self.regrid is None:
            return bodies
        edges = zip(bodies, self.regrid.margin, self.plan.shape, strict=True)
        return tuple((max(0, a - m), min(n, b + m)) for (a, b), m, n in edges)

    def _regridded(
        self, tile: _Tile, upscaled: NDArray[np.float32], regrid: Regrid
    ) -> NDArray[np.float32]:
        """Take a tile to the result's grid."""
        window = self._window(tile)
        crop = tuple(slice(a, b) for a, b in _local(tile, window))
        measured = tile.images[(slice(None), slice(None), *crop)]
        bodies = [(span.body_start, span.body_stop) for span in tile.spans]
        return regrid(upscaled, measured.reshape(-1, *measured.shape[2:]), window, bodies)

    def write(
        self, tiles: Sequence[_Tile], results: Sequence[NDArray[np.float32]]
    ) -> list[tuple[int, Region]]:
        """Round, clip and write the bodies of a batch."""
        axes, dtype = self.axes, np.dtype(self.out.dtype)
        factor = self.spec.scale if self.regrid is None else self.regrid.factor
        kept = sorted(axes.spatial if axes.samples is None else (*axes.spatial, axes.samples))
        position = {axis: 1 + i for i, axis in enumerate(axes.spatial)}
        written = []
        for tile, result in zip(tiles, results, strict=True):
            region = tile_region(tile.index, self.plan, axes, self.out.shape, factor)
            values = cast_values(result, dtype)
            values = values[0] if axes.samples is None else values
            order = [position.get(axis, 0) - (axes.samples is None) for axis in kept]
            key: list[Any] = [slice(*bounds) for bounds in region]
            for axis in axes.looped:
                key[axis] = region[axis][0]
            self._store(tuple(key), values.transpose(order))
            written.append((tile.index, region))
        return written

    def _store(self, key: tuple[Any, ...], values: NDArray[Any]) -> None:
        try:
            self.out[key] = values
        except HrsrError:
            raise
        except Exception as error:
            msg = f"the result cannot be written: {str(error) or type(error).__name__}"
            raise OutputError(msg) from error


def tile_region(
    index: int, plan: TilePlan, axes: Axes, shape: Sequence[int], factor: Sequence[float]
) -> Region:
    """Return where a tile's body lies in the result.

    Parameters
    ----------
    index : int
        Number of the tile among all of the image.
    plan : TilePlan
        The tiles, over the spatial axes.
    axes : Axes
        The roles of the image's axes.
    shape : sequence of int
        Of the result.
    factor : sequence of float
        Pixels of the result in one of the source, per spatial axis.
    """
    position, tile = divmod(index, len(plan))
    region = [(0, n) for n in shape]
    spatial = zip(axes.spatial, plan[tile], plan.region, plan.shape, factor, strict=True)
    for axis, span, (start, _), n, k in spatial:
        origin, _ = result_bounds(start, start, n, k)
        first, last = result_bounds(span.body_start, span.body_stop, n, k)
        region[axis] = (first - origin, last - origin)
    lengths = axes.pick_looped(shape)
    if lengths:
        for axis, at in zip(axes.looped, np.unravel_index(position, lengths), strict=True):
            region[axis] = (int(at), int(at) + 1)
    return tuple(region)


def normalisation(
    spec: ModelSpec, dtype: np.dtype[Any], low: float, high: float
) -> tuple[float, float]:
    """Offset and gain that take an image's values to a model's range.

    Parameters
    ----------
    spec : ModelSpec
        Says how the model wants its input normalised.
    dtype : numpy.dtype
        Data type of the image.
    low, high : float
        Measured black and white level of the image.

    Returns
    -------
    offset, gain : float
        ``(value - offset) / gain`` lies in the model's range.
    """
    if spec.normalisation == "none":
        return 0.0, 1.0
    photo = spec.normalisation == "photo" and dtype.itemsize == 1
    if spec.normalisation == "range" or photo:
        low, high = (0.0, 1.0)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            low, high = float(limits.min), float(limits.max)
    bottom, top = spec.value_range
    gain = (high - low) / (top - bottom)
    return low - bottom * gain, gain


def _read_ahead(
    reader: ThreadPoolExecutor,
    job: _Job,
    batches: Iterator[Sequence[int]],
    cancelled: Callable[[], bool],
) -> Iterator[list[_Tile]]:
    """Read the next batch while the caller works on this one."""

    def start() -> Future[list[_Tile]] | None:
        batch = next(batches, None)
        return None if batch is None else reader.submit(job.read_all, batch)

    ahead = start()
    while ahead is not None and not cancelled():
        tiles = ahead.result()
        ahead = start()
        if cancelled():
            return
        yield tiles


def _batched(order: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (order[i : i + size] for i in range(0, len(order), size))


def _local(tile: _Tile, window: Sequence[Interval]) -> Body:
    """Count a part of a tile from the start of its read."""
    return tuple(
        (start - span.read_start, stop - span.read_start)
        for span, (start, stop) in zip(tile.spans, window, strict=True)
    )


def _upscale_alpha(tile: _Tile, scale: tuple[int, ...]) -> NDArray[np.float32]:
    """Interpolate a tile's opacity, which no network has been trained on."""
    assert tile.alpha is not None
    linear = Interpolation(ndim=len(scale), scale=scale, method="linear")
    with torch.inference_mode():
        alpha: NDArray[np.float32] = linear(torch.from_numpy(tile.alpha))[0].numpy()
    bodies = _local(tile, [(span.body_start, span.body_stop) for span in tile.spans])
    crop = tuple(slice(a * k, b * k) for (a, b), k in zip(bodies, scale, strict=True))
    return alpha[(slice(None), *crop)]
