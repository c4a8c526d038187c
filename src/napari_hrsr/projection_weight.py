"""How firmly a result is held to its source: chosen once per image, from its noise.

A clean source is held to exactly. Of a noisy one only what rises above its
noise is enforced: the weight is the one that leaves as much between the source
and the degraded result as the source's noise is (Morozov's discrepancy
principle). What the network leaves is measured on patches that are spread
evenly over the image, always the same ones, so that the weight depends neither
on the tiles nor on the region that is upscaled.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dctn

from napari_hrsr.devices import choose_batch
from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.forward import AIM, NEAR, ForwardModel, find_weight, gram_of
from napari_hrsr.intensity import Intensity
from napari_hrsr.jobs import Job
from napari_hrsr.projecting import Interval, Projections, widest_margin
from napari_hrsr.tiling import TilePlan, plan_tiles, widen_plan
from napari_hrsr.upscaling import normalisation, upscale_tiles

_PATCH = {2: (64, 64), 3: (24, 48, 48)}
"""Sides of the patches that are measured, source pixels."""

_PATCHES = {2: 24, 3: 10}
"""How many, of one channel, or whatever shares a measurement."""

_ROUNDING = 1 / math.sqrt(12)
"""Standard deviation of rounding to whole numbers."""

_NOTHING = 1e-6
"""Noise below this share of the range is that of the computation."""

_NEAR = 0.005
"""Relative error of what is left on the patches."""

_DIGITS = 4
"""Of a weight that are kept, so that rounding in the network does not change it."""


def settle_projection(
    job: Job,
    intensity: Intensity,
    *,
    known: Projections | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Job:
    """Return the job with the step that holds its result to the source.

    Parameters
    ----------
    job : Job
        As planned; returned as it is where `Job.consistent` is None.
    intensity : Intensity
        Of the image; its noise decides.
    known : Projections, optional
        Those of an earlier run, whose weights are then not measured again.
    progress : callable, optional
        Called with the number of channels done and in total.
    cancelled : callable, optional
        Polled between patches, and later between the steps of a tile.

    Returns
    -------
    Job
        Ready to start, with the margin that its blur asks for.

    Raises
    ------
    InputError
        If the blur is too wide to hold a result to the source.
    CancelledError
        If `cancelled` returned True.
    """
    forward = job.consistent
    if forward is None:
        return job
    groups = intensity.noise.shape
    if known is not None and known.weight.shape != groups:
        msg = (
            f"the recipe holds weights for {known.weight.shape} channels or time points, "
            f"but the intensities are for {groups}"
        )
        raise InputError(msg)
    weights, before = np.zeros(groups), np.full(groups, math.nan)
    if known is not None:
        weights, before = known.weight, known.before
    else:
        total = math.prod(groups)
        for done, group in enumerate(np.ndindex(groups), 1):
            level = _noise_level(job, intensity, group)
            if level > 0:
                found = _measure(job, forward, intensity, group, level, cancelled)
                weights[group], before[group] = found
            if progress is not None:
                progress(done, total)

    def check() -> None:
        if cancelled():
            msg = "cancelled while the result was held to its source"
            raise CancelledError(msg)

    margin = widest_margin(forward, weights)
    steps = Projections(forward, weights, before, margin, _limits(job, intensity), check)
    spec, placement = job.model.spec, job.placement
    plan = widen_plan(job.plan, steps.margin, multiple=spec.multiple, minimum=spec.minimum)
    batch = choose_batch(spec, plan.read, placement.device)
    return replace(job, regrid=steps, plan=plan, placement=replace(placement, batch=batch))


def _noise_level(job: Job, intensity: Intensity, group: tuple[int, ...]) -> float:
    """Return the noise that counts, in the image's units; 0 where the image is clean."""
    low, high, noise = intensity.at(group)
    if job.source.dtype.kind in "iu":
        # Rounding is measured as noise too, and no more exactly than this.
        return noise if noise > 1.1 * _ROUNDING else 0.0
    return noise if noise > _NOTHING * (high - low) else 0.0


def _limits(job: Job, intensity: Intensity) -> NDArray[np.float64] | None:
    """Return what an integer result can hold, in the model's units."""
    if job.dtype.kind == "f":
        return None
    held = np.iinfo(job.dtype)
    limits = np.zeros((*intensity.noise.shape, 2))
    for group in np.ndindex(intensity.noise.shape):
        offset, gain = _scaling(job, intensity, group)
        limits[group] = ((held.min - offset) / gain, (held.max - offset) / gain)
    return limits


def _scaling(job: Job, intensity: Intensity, group: tuple[int, ...]) -> tuple[float, float]:
    low, high, _ = intensity.at(group)
    return normalisation(job.model.spec, np.dtype(job.source.dtype), low, high)


def _measure(
    job: Job,
    forward: ForwardModel,
    intensity: Intensity,
    group: tuple[int, ...],
    level: float,
    cancelled: Callable[[], bool],
) -> tuple[float, float]:
    """Return the weight of one channel, and chi-square per pixel without it."""
    variance = (level / _scaling(job, intensity, group)[1]) ** 2
    parts = _residuals(job, forward, intensity, group, cancelled)
    count = sum(part.size for part in parts)
    before = sum(float(np.square(part).sum()) for part in parts) / count / variance
    if before <= AIM + NEAR:
        return math.inf, before
    gram = gram_of(forward)
    if gram.local is not None:
        # What is left is the share weight / (energy + weight) of it.
        share = math.sqrt(AIM / before)
        return _rounded(gram.local * share / (1 - share)), before
    axes = tuple(range(-forward.ndim, 0))
    cosines = [dctn(part, axes=axes, norm="ortho") for part in parts]
    energies = [gram.spectrum(part.shape[-forward.ndim :]) for part in parts]

    def left(weight: float) -> float:
        return (
            sum(
                float(np.square(weight / (e + weight) * c).sum())
                for c, e in zip(cosines, energies, strict=True)
            )
            / count
        )

    return _rounded(find_weight(left, AIM * variance, near=_NEAR)), before


def _rounded(weight: float) -> float:
    return float(f"{weight:.{_DIGITS}g}")


def _residuals(
    job: Job,
    forward: ForwardModel,
    intensity: Intensity,
    group: tuple[int, ...],
    cancelled: Callable[[], bool],
) -> list[NDArray[np.float64]]:
    """Run the network on patches; return source less degraded result, in its units."""
    probe = _Probe(forward, gram_of(forward).reach)
    plan = _patch_plan(job, probe.margin)
    out = _Nowhere(job)
    lengths = job.axes.pick_looped(job.source.shape)
    free = [
        (g,) if n > 1 else tuple(range(length))
        for g, n, length in zip(group, intensity.noise.shape, lengths, strict=True)
    ]
    counts = (*(len(f) for f in free), *(len(spans) for spans in plan.axes))
    grid = (*lengths, *(len(spans) for spans in plan.axes))
    indices = []
    for at in spread_evenly(counts, _PATCHES[forward.ndim]):
        loop = [f[i] for f, i in zip(free, at, strict=False)]
        indices.append(int(np.ravel_multi_index((*loop, *at[len(free) :]), grid)))
    placement = job.placement
    batch = choose_batch(job.model.spec, plan.read, placement.device)
    done = 0
    for record in upscale_tiles(
        job.source, job.model, out, plan,
        axes=job.axes, intensity=intensity, regrid=probe,
        placement=replace(placement, batch=min(batch, len(indices))),
        indices=indices, cancelled=cancelled,
    ):  # fmt: skip
        done = record.done
    if done < len(indices):
        msg = "cancelled while the result's agreement with its source was measured"
        raise CancelledError(msg)
    return probe.found


def _patch_plan(job: Job, margin: Sequence[int]) -> TilePlan:
    """Cut the whole image into patches, whatever the job's tiles and region are."""
    spec: Any = job.model.spec
    shape = job.axes.pick_spatial(job.source.shape)
    whole = spec.halo is None
    least = 0 if job.axes.samples is None else 1
    halo = [max(least, h + m) for h, m in zip(spec.halo or (0,) * spec.ndim, margin, strict=True)]
    patch = shape if whole else _PATCH[spec.ndim]
    return plan_tiles(shape, patch, halo=halo, multiple=spec.multiple, minimum=spec.minimum)


def spread_evenly(counts: Sequence[int], most: int) -> list[tuple[int, ...]]:
    """Choose places on a grid, evenly and always the same.

    A sequence of low discrepancy (Roberts, The unreasonable effectiveness of
    quasirandom sequences, 2018), which does not line up with rows or columns.

    Parameters
    ----------
    counts : sequence of int
        Lengths of the grid.
    most : int
        How many places are wanted; all where there are no more.
    """
    if math.prod(counts) <= most:
        return list(np.ndindex(*counts))
    ratio = 2.0
    for _ in range(32):
        ratio = (1 + ratio) ** (1 / (len(counts) + 1))
    steps = ratio ** -np.arange(1.0, len(counts) + 1)

    def places() -> Iterator[tuple[int, ...]]:
        for i in itertools.count():
            yield tuple(int(p * n) for p, n in zip((0.5 + i * steps) % 1.0, counts, strict=True))

    chosen: dict[tuple[int, ...], None] = {}
    for place in itertools.islice(places(), 100 * most):
        chosen[place] = None
        if len(chosen) == most:
            break
    return list(chosen)


@dataclass(frozen=True)
class _Probe:
    """Keeps what the network leaves of the source; a `Regrid`."""

    forward: ForwardModel
    margin: tuple[int, ...]
    found: list[NDArray[np.float64]] = field(default_factory=list)

    @property
    def factor(self) -> tuple[float, ...]:
        return self.forward.factor

    def at(self, index: Sequence[int]) -> _Probe:
        return self

    def __call__(
        self,
        upscaled: NDArray[np.float32],
        measured: NDArray[np.float32],
        window: Sequence[Interval],
        body: Sequence[Interval],
    ) -> NDArray[np.float32]:
        made = self.forward.apply(torch.from_numpy(np.ascontiguousarray(upscaled)).double())
        residual = measured.astype(np.float64) - made.numpy()
        inside = [(a - w, b - w) for (w, _), (a, b) in zip(window, body, strict=True)]
        self.found.append(residual[(slice(None), *(slice(a, b) for a, b in inside))])
        fine = zip(inside, self.forward.factor, strict=True)
        return upscaled[(slice(None), *(slice(a * k, b * k) for (a, b), k in fine))].copy()


class _Nowhere:
    """Takes tiles of the whole image and keeps none."""

    def __init__(self, job: Job) -> None:
        scale = job.axes.spread(job.model.spec.scale)
        self.shape = tuple(int(n * k) for n, k in zip(job.source.shape, scale, strict=True))
        self.dtype = np.dtype(np.float32)

    def __setitem__(self, key: Any, value: Any) -> None:
        pass
