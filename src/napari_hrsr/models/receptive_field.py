"""How far a network looks, measured on the network itself.

One source pixel is made not-a-number, and what of the result is not a number
depends on it, whatever the weights are::

    source    . . . . . . . . . . n . . . . . . . . . .
    result    . . . . . . n n n n n n n n n . . . . . .
                          <--halo-->

A network in which that comes to an end has a bounded field, and tiles that
read a halo as wide as it equal the whole image. In very deep networks there is
an end only far out, though hardly anything arrives from there: then the
gradient says where the influence has faded. What is found is put to the test:
the network is run on a cut-out and on the whole, and the two are compared.
That also finds out networks that depend on where a tile starts, as those with
windows of attention do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_hrsr.errors import CancelledError
from napari_hrsr.models.spec import ModelSpec, Upscaler

EXACT = 1e-4
"""Largest difference, in the model's value range, up to which tiles count as exact."""

_LONGEST = {2: 192, 3: 48}
"""Longest side of an image that a network is tried on, in source pixels."""

_SHORTEST = {2: 48, 3: 24}
_BEYOND = 1e-6
"""Share of the gradient that may lie beyond a halo: it no longer shows in float32."""

_INSIDE = 0.6
"""Of the way to the border: if there is more farther out, more might lie outside."""

_MULTIPLES = (1, 8, 16, 32, 64)
_WORTHWHILE = 0.5
"""By what a residual must shrink for coarser multiples to be worth it."""

_PERIOD = 16
_OFFSETS = (0, 3, 7, 15)
"""Where in windows of attention the source pixel lies: what it reaches depends on that."""

_SEED = 20260101


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """What was measured.

    Attributes
    ----------
    halo : tuple of int or None
        Source pixels on each side of an output pixel that influence it, per
        axis; None if there is no end to them.
    multiple : tuple of int
        On what multiples a tile must start, per axis, in source pixels.
    bounded : bool
        Whether nothing beyond the halo has an influence; else at most a
        millionth of it lies beyond.
    residual : float
        Largest difference between a tile with this halo and the whole image,
        in the model's value range. Of networks without a halo: with the margin
        that is read around their tiles.
    """

    halo: tuple[int, ...] | None
    multiple: tuple[int, ...]
    bounded: bool
    residual: float


def measure_receptive_field(
    model: Upscaler,
    *,
    longest: int | None = None,
    margin: int = 32,
    cancelled: Callable[[], bool] = lambda: False,
) -> ReceptiveField:
    """Measure how far a network looks, and whether tiles of it are exact.

    Parameters
    ----------
    model : Upscaler
        In float32, on any device. Runs on images of noise.
    longest : int, optional
        Side of the largest image that is tried, in source pixels; by default
        192 in 2D and 48 in 3D.
    margin : int
        Of networks without a halo: source pixels around a tile at which the
        residual is measured.
    cancelled : callable
        Polled between runs of the network.

    Returns
    -------
    ReceptiveField

    Raises
    ------
    CancelledError
        If `cancelled` said so.
    """

    def check() -> None:
        if cancelled():
            msg = "cancelled while the receptive field was measured"
            raise CancelledError(msg)

    spec = model.spec
    largest = _side(spec, longest or _LONGEST[spec.ndim])
    reach = _first(lambda side: _dependence(model, side), _sides(spec, largest), check)
    bounded = reach is not None
    if reach is None:
        reach = _first(lambda side: _fading(model, side), _sides(spec, largest), check)
    if reach is not None:
        found = _exact(model, reach, check)
        if found is not None:
            multiple, residual = found
            return ReceptiveField(reach, multiple, bounded, residual)
    check()
    return _unbounded(model, (margin,) * spec.ndim, check)


def _exact(
    model: Upscaler, reach: tuple[int, ...], check: Callable[[], None]
) -> tuple[tuple[int, ...], float] | None:
    """Find on what multiples tiles with a halo equal the whole image; None if on none."""
    first, *others = _multiples(model.spec)
    residual = tile_residual(model, reach, first)
    if residual <= EXACT:
        return first, residual
    if others:
        # Where tiles on the coarsest multiples do not, none do: it is one of all the others.
        check()
        last = tile_residual(model, reach, others[-1])
        for multiple in others[:-1] if last <= EXACT else ():
            check()
            residual = tile_residual(model, reach, multiple)
            if residual <= EXACT:
                return multiple, residual
        if last <= EXACT:
            return others[-1], last
    return None


def _unbounded(
    model: Upscaler, margin: tuple[int, ...], check: Callable[[], None]
) -> ReceptiveField:
    """Find on what multiples tiles of a network without a halo differ least from the whole.

    Many divide an image into windows, beside what they do with all of it.
    """
    spec = model.spec
    best = ReceptiveField(None, spec.multiple, False, tile_residual(model, margin, spec.multiple))
    for multiple in _multiples(spec)[1:]:
        if max(multiple) > max(margin):
            break
        check()
        residual = tile_residual(model, margin, multiple)
        if residual < _WORTHWHILE * best.residual:
            best = ReceptiveField(None, multiple, False, residual)
    return best


def tile_residual(model: Upscaler, halo: tuple[int, ...], multiple: tuple[int, ...]) -> float:
    """Return the largest difference between a tile with a halo and the whole image.

    Parameters
    ----------
    model : Upscaler
        Runs on noise.
    halo : tuple of int
        Source pixels read around the tile, per axis.
    multiple : tuple of int
        The tile starts on a multiple of this that is not one of twice as much.

    Returns
    -------
    float
        In the model's value range.
    """
    spec = model.spec
    starts, stops, sides, bodies = [], [], [], []
    for h, m, minimum in zip(halo, multiple, spec.minimum, strict=True):
        body = max(m, 4)
        read = max(-(-(body + 2 * h) // m) * m, -(-minimum // m) * m)
        start = m if m > 1 else 3
        starts.append(start)
        stops.append(start + read)
        sides.append(-(-(start + read + m) // m) * m)
        bodies.append((h, read - h))
    image = _noise(spec, tuple(sides))
    cut = tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))
    with torch.inference_mode():
        whole = _run(model, image)
        part = _run(model, image[(slice(None), slice(None), *cut)].clone())
    inner, outer = [], []
    for (a, b), start, k in zip(bodies, starts, spec.scale, strict=True):
        inner.append(slice(a * k, b * k))
        outer.append(slice((start + a) * k, (start + b) * k))
    keep = (slice(None), slice(None))
    return float((part[(*keep, *inner)] - whole[(*keep, *outer)]).abs().max())


def _first(
    measure: Callable[[int], tuple[int, ...] | None],
    sides: Iterator[int],
    check: Callable[[], None],
) -> tuple[int, ...] | None:
    """Return what is found on the smallest image on which anything is."""
    for side in sides:
        check()
        found = measure(side)
        if found is not None:
            return found
    return None


def _sides(spec: ModelSpec, largest: int) -> Iterator[int]:
    side = min(_side(spec, _SHORTEST[spec.ndim]), largest)
    while side < largest:
        yield side
        side = _side(spec, 2 * side)
    yield largest


def _dependence(model: Upscaler, side: int) -> tuple[int, ...] | None:
    """Return the farthest result that depends on a source pixel, in source pixels per axis.

    None if it reaches the border of an image with this side, or if the network
    hides what is not a number.
    """
    spec = model.spec
    reach = [0] * spec.ndim
    base = side // 2 // _PERIOD * _PERIOD
    for offset in _OFFSETS:
        at = min(base + offset, side - 1)
        image = _noise(spec, (side,) * spec.ndim)
        pixel: tuple[Any, ...] = (slice(None), slice(None), *(at,) * spec.ndim)
        image[pixel] = float("nan")
        with torch.inference_mode():
            touched = _run(model, image)[0].isnan().any(0)
        if not bool(touched.any()):
            return None
        for axis, k in enumerate(spec.scale):
            others = tuple(a for a in range(spec.ndim) if a != axis)
            (found,) = torch.nonzero(touched.any(others) if others else touched, as_tuple=True)
            first, last = int(found[0]) // k, int(found[-1]) // k
            if first == 0 or last == side - 1:
                return None
            reach[axis] = max(reach[axis], at - first, last - at)
    return tuple(reach)


def _fading(model: Upscaler, side: int) -> tuple[int, ...] | None:
    """Return how far the gradient goes but for a share that does not show, per axis.

    None if too much of it reaches the border of an image with this side.
    """
    spec = model.spec
    length = max(spec.multiple)
    middle = side // 2 // length * length
    image = _noise(spec, (side,) * spec.ndim).requires_grad_(True)
    window = tuple(slice(middle * k, (middle + length) * k) for k in spec.scale)
    with torch.enable_grad():
        result = _run(model, image)
        if not result.requires_grad:
            return _changed(model, side)
        output = result[(slice(None), slice(None), *window)]
        generator = torch.Generator().manual_seed(_SEED)
        mixed = (output * torch.randn(output.shape, generator=generator).to(output)).sum()
        (gradient,) = torch.autograd.grad(mixed, image)
    strength = gradient.abs().sum((0, 1)).double().cpu()
    total = float(strength.sum())
    if total == 0 or not math.isfinite(total):
        return None
    reach = []
    for axis in range(spec.ndim):
        profile = strength.sum(tuple(a for a in range(spec.ndim) if a != axis))
        # How much lies at each distance or farther, on the worse side.
        before, after = profile[:middle].flip(0), profile[middle + length :]
        near = min(len(before), len(after))
        beyond = torch.maximum(before[:near], after[:near]).flip(0).cumsum(0).flip(0)
        faint = int((beyond > _BEYOND * total).sum())
        if faint > _INSIDE * near:
            return None
        reach.append(faint)
    return tuple(reach)


def _changed(model: Upscaler, side: int) -> tuple[int, ...] | None:
    """Return how far a changed source pixel is seen, for networks without a gradient.

    None if that reaches the border of an image with this side, or nowhere.
    """
    spec = model.spec
    reach = [0] * spec.ndim
    low, high = spec.value_range
    for offset in _OFFSETS:
        at = min(side // 2 // _PERIOD * _PERIOD + offset, side - 1)
        image = _noise(spec, (side,) * spec.ndim)
        pixel: tuple[Any, ...] = (slice(None), slice(None), *(at,) * spec.ndim)
        with torch.inference_mode():
            before = _run(model, image)
            image[pixel] += 10 * (high - low)
            touched = (_run(model, image) != before)[0].any(0)
        for axis, k in enumerate(spec.scale):
            others = tuple(a for a in range(spec.ndim) if a != axis)
            (found,) = torch.nonzero(touched.any(others), as_tuple=True)
            if not len(found) or int(found[0]) // k == 0 or int(found[-1]) // k == side - 1:
                return None
            reach[axis] = max(reach[axis], at - int(found[0]) // k, int(found[-1]) // k - at)
    return tuple(reach)


def _multiples(spec: ModelSpec) -> list[tuple[int, ...]]:
    """Return where tiles may have to start: as stated, or on coarser multiples."""
    found = [spec.multiple]
    for m in _MULTIPLES:
        lifted = tuple(math.lcm(m, s) for s in spec.multiple)
        if lifted not in found and max(lifted) <= max(_MULTIPLES):
            found.append(lifted)
    return found


def _side(spec: ModelSpec, wanted: int) -> int:
    """Return the least side from a wanted one up that the network takes."""
    multiple = math.lcm(*spec.multiple)
    return -(-max(wanted, *spec.minimum) // multiple) * multiple


def _noise(spec: ModelSpec, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(_SEED)
    low, high = spec.value_range
    return low + (high - low) * torch.rand((1, spec.channels, *shape), generator=generator)


def _run(model: Upscaler, image: Tensor) -> Tensor:
    noise = None
    if model.spec.noise_input:
        low, high = model.spec.value_range
        noise = torch.full((1, 1, *(1,) * model.spec.ndim), 0.05 * (high - low))
    return model(image, noise=noise)
