"""How far a network looks, measured on the network itself.

The gradient of an output pixel says which source pixels it depends on. On one
axis, for the output pixels of one source pixel p::

     source    . . . . . . r r r r p r r r r . . . . . .
     gradient  0 0 0 0 0 0 x x x x x x x x x 0 0 0 0 0 0
                           <--halo-->

A network whose gradients come to an end has a bounded field, and tiles that
read a halo as wide as that equal the whole image. What is measured is then put
to the test: the network is run on a cut-out and on the whole, and the two are
compared. That also finds out networks that depend on where a tile starts, as
those with windows of attention do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

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

_MULTIPLES = (1, 8, 16, 32, 64)
_SEED = 20260101


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """What was measured.

    Attributes
    ----------
    halo : tuple of int or None
        Source pixels on each side of an output pixel that influence it, per
        axis; None if there was no end to them.
    multiple : tuple of int
        On what multiples a tile must start, per axis, in source pixels.
    bounded : bool
        Whether the gradients were exactly zero beyond the halo; else at most
        a share of a millionth of them lies beyond.
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
    side, reach, bounded = _side(spec, min(_SHORTEST[spec.ndim], largest)), None, False
    while True:
        check()
        reach, bounded = _reach(model, side)
        if reach is not None or side >= largest:
            break
        side = min(_side(spec, 2 * side), largest)
    for multiple in _multiples(spec):
        if reach is None:
            break
        check()
        residual = tile_residual(model, reach, multiple)
        if residual <= EXACT:
            return ReceptiveField(reach, multiple, bounded, residual)
    check()
    given = (margin,) * spec.ndim
    return ReceptiveField(None, spec.multiple, False, tile_residual(model, given, spec.multiple))


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


def _reach(model: Upscaler, side: int) -> tuple[tuple[int, ...] | None, bool]:
    """Return the farthest source pixel with a gradient per axis, and whether that is all.

    None if the gradients reach the border of an image with this side.
    """
    spec = model.spec
    middle = side // 2 // max(spec.multiple) * max(spec.multiple)
    length = max(spec.multiple)
    image = _noise(spec, (side,) * spec.ndim).requires_grad_(True)
    window = tuple(slice(middle * k, (middle + length) * k) for k in spec.scale)
    with torch.enable_grad():
        output = _run(model, image)[(slice(None), slice(None), *window)]
        generator = torch.Generator().manual_seed(_SEED)
        mixed = (output * torch.randn(output.shape, generator=generator).to(output)).sum()
        (gradient,) = torch.autograd.grad(mixed, image)
    strength = gradient.abs().sum((0, 1)).double().cpu()
    reach, bounded = [], True
    for axis in range(spec.ndim):
        others = tuple(a for a in range(spec.ndim) if a != axis)
        profile = strength.sum(others)
        # How much lies at each distance or farther, on the worse side.
        before = profile[:middle].flip(0)
        after = profile[middle + length :]
        near = min(len(before), len(after))
        rings = torch.maximum(before[:near], after[:near])
        beyond = rings.flip(0).cumsum(0).flip(0)
        total = float(profile.sum())
        if total == 0 or not math.isfinite(total):
            return None, False
        zero = int((beyond > 0).sum())
        faint = int((beyond > _BEYOND * total).sum())
        # The last quarter must be free, or more might lie outside.
        if zero <= 0.75 * near:
            reach.append(zero)
        elif faint <= 0.6 * near:
            reach.append(faint)
            bounded = False
        else:
            return None, False
    return tuple(reach), bounded


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
