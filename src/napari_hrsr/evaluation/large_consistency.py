"""Large results degraded again, tile by tile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation.blur_fitting import WIDEST_BLUR, best_blur, degraded, middle
from napari_hrsr.evaluation.consistency import NOTHING, Consistency, measured_noise
from napari_hrsr.evaluation.images import Image, whole
from napari_hrsr.evaluation.large_images import (
    Box,
    LargeImage,
    boxes,
    counted,
    finer,
    grown,
    scratch,
)
from napari_hrsr.evaluation.moments import Moments
from napari_hrsr.evaluation.resolution_scaled import ResolutionScaled
from napari_hrsr.forward import ForwardModel

if TYPE_CHECKING:
    from napari_hrsr.evaluation.evaluating import Report

_PLANES = 64
"""Planes of a volume whose noise is measured, at most, evenly spread."""

_PLANE = 2**22
"""Pixels of a plane whose noise is measured in one piece, at most."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A large result and its source, and where both are fitted to each other."""

    fine: LargeImage
    coarse: LargeImage
    factor: tuple[int, ...]
    fitted: tuple[Image, Image]

    def tiles(self) -> list[Box]:
        """Cut the source into boxes."""
        return boxes(self.coarse.shape)

    def degraded(self, box: Box, model: ForwardModel) -> Image:
        """Return what an instrument makes of the result in a box of the source.

        Parameters
        ----------
        box : tuple of slice
            Of the source.
        model : ForwardModel
            The instrument.
        """
        margin = [-(-m // k) for m, k in zip(_reach(model), self.factor, strict=True)]
        wide, inner = grown(box, margin, self.coarse.shape)
        read = self.fine.read(finer(wide, self.factor, self.fine.shape))
        return degraded(read, model)[inner]


def consistency_of(
    fine: LargeImage,
    coarse: LargeImage,
    factor: tuple[float, ...],
    forward: ForwardModel | None,
    noise: float | None,
    rich: Box,
    report: Report,
    check: Callable[[], None],
) -> tuple[Consistency, Pair]:
    """Degrade a large result, and compare with the source; as `check_consistency`.

    Parameters
    ----------
    fine, coarse : LargeImage
        Result and source, scanned.
    factor : tuple of float
        Pixels of the result in one of the source, per axis.
    forward, noise
        As for `check_consistency`.
    rich : tuple of slice
        Of the source: where blurs are fitted if the middle is constant.
    report, check : callable
        As for `evaluate_large`.

    Returns
    -------
    consistency : Consistency
        Its map is an array on disk, float32.
    pair : Pair
        For `scaled_error_of`.

    Raises
    ------
    InputError
        If the factor is not whole, the noise cannot be measured, or the
        instrument cannot be applied in tiles.
    """
    factors = whole(factor)
    noise = _noise(coarse, check) if noise is None else noise
    pair = Pair(fine, coarse, factors, _fitted(fine, coarse, factors, rich))
    fitted = forward is None
    if forward is None:
        sigma = best_blur(*pair.fitted, ForwardModel(factors), scaled=False, check=check)
        forward = replace(ForwardModel(factors), psf_sigma=sigma)
    _reach(forward)
    tiles = pair.tiles()
    out = scratch(coarse.shape, [s.stop - s.start for s in tiles[0]])
    total, outside = 0.0, 0
    for box in counted(tiles, "Degrading the result", report, check):
        difference = pair.degraded(box, forward) - coarse.read(box)
        total += float((difference**2).sum())
        outside += int((np.abs(difference) > 3 * noise).sum())
        out[box] = (difference / noise).astype(np.float32)
    count = math.prod(coarse.shape)
    error, span = total / count, coarse.high - coarse.low
    psnr = 10 * math.log10(span**2 / error) if error > 0 else math.inf
    found = Consistency(out, noise, error / noise**2, outside / count, psnr, forward, fitted)
    return found, pair


def scaled_error_of(pair: Pair, report: Report, check: Callable[[], None]) -> ResolutionScaled:
    """Match blur, gain and offset of a large result; as `resolution_scaled_error`.

    Parameters
    ----------
    pair : Pair
        From `consistency_of`.
    report, check : callable
        As for `evaluate_large`.
    """
    model = ForwardModel(pair.factor)
    sigma = best_blur(*pair.fitted, model, scaled=True, check=check)
    model = replace(model, psf_sigma=sigma)
    tiles, moments = pair.tiles(), Moments()
    for box in counted(tiles, "Matching the result", report, check):
        moments.add(pair.degraded(box, model), pair.coarse.read(box))
    gain, offset = moments.fit()
    out, total = scratch(pair.coarse.shape, [s.stop - s.start for s in tiles[0]]), 0.0
    for box in counted(tiles, "Mapping the error", report, check):
        difference = gain * pair.degraded(box, model) + offset - pair.coarse.read(box)
        total += float((difference**2).sum())
        out[box] = np.abs(difference).astype(np.float32)
    limit = any(s > 0.99 * WIDEST_BLUR * k for s, k in zip(sigma, pair.factor, strict=True))
    error = math.sqrt(total / math.prod(pair.coarse.shape))
    return ResolutionScaled(out, error, moments.pearson, gain, offset, sigma, limit)


def _reach(model: ForwardModel) -> tuple[int, ...]:
    """Return how far a coarse pixel collects beyond its own fine ones, per axis."""
    reach = [max(kernel.padding) for kernel in model.kernels]
    if model.point_spread is not None:
        shape = model.point_spread.kernel.shape
        for axis, side in enumerate(shape, model.ndim - len(shape)):
            reach[axis] += side // 2
    return tuple(reach)


def _fitted(
    fine: LargeImage, coarse: LargeImage, factor: tuple[int, ...], rich: Box
) -> tuple[Image, Image]:
    box = middle(coarse.shape, factor)
    for chosen in (box, rich):
        pair = fine.read(finer(chosen, factor, fine.shape)), coarse.read(chosen)
        if all(image.min() < image.max() for image in pair):
            return pair
    msg = "result and source have no structure at the same place: they do not belong together"
    raise InputError(msg)


def _noise(coarse: LargeImage, check: Callable[[], None]) -> float:
    """Measure the noise of a large source; as `measured_noise`."""
    found = []
    for plane in _planes(coarse, check):
        try:
            found.append(measured_noise(plane))
        except InputError:
            found.append(0.0)
    noise = float(np.median(found))
    if noise <= NOTHING * (coarse.high - coarse.low):
        msg = "the source shows no noise that can be measured: give its standard deviation as noise"
        raise InputError(msg)
    return noise


def _planes(coarse: LargeImage, check: Callable[[], None]) -> Iterator[Any]:
    shape = coarse.shape
    first: list[tuple[slice, ...]] = [()]
    if len(shape) == 3:
        numbers = np.unique(np.linspace(0, shape[0] - 1, min(shape[0], _PLANES)).round())
        first = [(slice(int(i), int(i) + 1),) for i in numbers]
    for leading in first:
        for piece in boxes(shape[-2:], voxels=_PLANE):
            check()
            box = (*leading, *piece)
            # Rounding is seen only in the source as it is, not in its luminance.
            yield (coarse.read(box) if coarse.rgb else coarse.cut(box)).reshape(
                [s.stop - s.start for s in piece]
            )
