"""How much a result must be blurred to look like its source."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize, minimize_scalar

from napari_hrsr.evaluation.images import Image, check_factor, check_image, whole
from napari_hrsr.forward import ForwardModel

WIDEST_BLUR = 12.0
"""Largest standard deviation of a blur that is looked for, in pixels of the source."""

_TRIALS = 13
_FITTED = 2**20
"""Voxels of the result, in its middle, that a blur is fitted to at most."""


def image_pair(
    result: Any, source: Any, factor: float | Sequence[float] | None
) -> tuple[Image, Image, tuple[int, ...]]:
    """Check result and source, and return them with the whole factor between them.

    Raises
    ------
    InputError
        If they do not belong together.
    """
    fine, coarse = check_image(result, "result"), check_image(source, "source")
    return fine, coarse, whole(check_factor(fine.shape, coarse.shape, factor))


def degraded(fine: Image, model: ForwardModel) -> Image:
    """Return what an instrument makes of an image, same units."""
    return np.asarray(model.apply(torch.from_numpy(np.ascontiguousarray(fine))).numpy())


def gain_and_offset(blurred: Image, coarse: Image) -> tuple[float, float]:
    """Return the gain and the offset that bring one image closest to another."""
    centred = blurred - blurred.mean()
    energy = float((centred**2).sum())
    # A blur wider than the image leaves rounding errors, which must not be amplified.
    if energy <= 1e-24 * float((blurred**2).sum()):
        return 0.0, float(coarse.mean())
    gain = float((centred * (coarse - coarse.mean())).sum()) / energy
    return gain, float(coarse.mean() - gain * blurred.mean())


def best_blur(
    fine: Image,
    coarse: Image,
    model: ForwardModel,
    *,
    scaled: bool,
    check: Callable[[], None],
) -> tuple[float, ...]:
    """Return the width of the blur that brings a result closest to its source.

    Parameters
    ----------
    fine, coarse : ndarray
        Result and source.
    model : ForwardModel
        How the result is sampled; its own Gaussian is replaced.
    scaled : bool
        Whether gain and offset are fitted too.
    check : callable
        Called at every trial; may raise to stop.

    Returns
    -------
    tuple of float
        Standard deviation per axis, pixels of the result. Of a volume the first
        axis has one of its own.
    """
    fine, coarse = _middle(fine, coarse, model.factor)
    ndim, scale = coarse.ndim, float(coarse.var())
    factors = np.array(model.factor, dtype=np.float64)

    def widths(wide: np.ndarray) -> tuple[float, ...]:
        # Microscopes blur alike along y and x: two widths at most are told apart.
        per_axis = [wide[0], *([wide[-1]] * (ndim - 1))]
        return tuple(float(w * k) for w, k in zip(per_axis, factors, strict=True))

    def distance(wide: np.ndarray) -> float:
        check()
        blurred = degraded(fine, replace(model, psf_sigma=widths(wide)))
        gain, offset = gain_and_offset(blurred, coarse) if scaled else (1.0, 0.0)
        return float(((gain * blurred + offset - coarse) ** 2).mean()) / scale

    # A coarse search first: the distance may have several minima.
    trials = np.concatenate([[0.0], np.geomspace(0.1, WIDEST_BLUR, _TRIALS)])
    distances = [distance(np.array([t])) for t in trials]
    best = int(np.argmin(distances))
    bounds = (float(trials[max(0, best - 1)]), float(trials[min(len(trials) - 1, best + 1)]))
    found = minimize_scalar(
        lambda w: distance(np.array([w])), bounds=bounds, method="bounded", options={"xatol": 1e-5}
    )
    wide = np.array([found.x if found.fun < distances[best] else trials[best]])
    if ndim == 3:
        both = np.repeat(wide, 2)
        limits = [(0.0, WIDEST_BLUR)] * 2
        apart = minimize(
            distance, both, method="Powell", bounds=limits, options={"xtol": 1e-4, "ftol": 1e-10}
        )
        wide = apart.x if apart.fun < found.fun else both
    return widths(wide)


def middle(shape: Sequence[int], factor: Sequence[int]) -> tuple[slice, ...]:
    """Return the box in the middle of a source that blurs are fitted to.

    Parameters
    ----------
    shape : sequence of int
        Of the source, whose aspect it has.
    factor : sequence of int
        Pixels of the result in one of the source, per axis.
    """
    size = math.prod(n * k for n, k in zip(shape, factor, strict=True))
    shrink = min(1.0, (_FITTED / size) ** (1 / len(shape)))
    lengths = [min(n, max(16, int(n * shrink))) for n in shape]
    starts = [(n - length) // 2 for n, length in zip(shape, lengths, strict=True)]
    return tuple(slice(s, s + n) for s, n in zip(starts, lengths, strict=True))


def _middle(fine: Image, coarse: Image, factor: tuple[int, ...]) -> tuple[Image, Image]:
    """Cut out the middle of a large pair."""
    inner = middle(coarse.shape, factor)
    finer = tuple(slice(s.start * k, s.stop * k) for s, k in zip(inner, factor, strict=True))
    if coarse[inner].min() == coarse[inner].max() or fine[finer].min() == fine[finer].max():
        return fine, coarse
    return fine[finer], coarse[inner]
