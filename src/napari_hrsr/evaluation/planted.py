"""What a model does to planted points and lesions, of which the truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation.images import Cancelled, Image, as_callable, check_image
from napari_hrsr.evaluation.planted_measures import APART, contrasts, dip, is_split
from napari_hrsr.evaluation.planted_scenes import (
    Scene,
    as_upscaler,
    default_instrument,
    disc,
    lay_out,
    point,
    record,
    run,
    source_peak,
)
from napari_hrsr.evaluation.planted_tables import (
    Doublets,
    Lesions,
    PlantedLesions,
    PlantedPoints,
    Singles,
)
from napari_hrsr.forward import ForwardModel
from napari_hrsr.models.catalog import interpolation_spec
from napari_hrsr.models.load import load_model
from napari_hrsr.models.spec import Upscaler

DISTANCES = (1.0, 1.5, 2.0, 3.0, 4.0)
WIDTHS = (2.0, 3.0, 4.0, 6.0)
LEVELS = (math.inf, 20.0, 5.0)
CONTRASTS = (math.inf, 5.0, 2.0)

_FOUND = 0.5
"""Share of a lesion's contrast from which on it counts as there."""


def planted_doublets(
    model: str | Upscaler,
    *,
    distances: Sequence[float] = DISTANCES,
    levels: Sequence[float] = LEVELS,
    count: int = 40,
    forward: ForwardModel | None = None,
    background: Any = None,
    height: float | None = None,
    seed: int = 0,
    cancelled: Cancelled | None = None,
) -> PlantedPoints:
    """Plant pairs of points and single points, and measure what a model makes of them.

    Points lie between pixels and in all directions, along the axes that the
    model refines. They are rendered at the sampling of the result, degraded by
    the instrument, upscaled as any image is, and compared along the line that
    joins them.

    Parameters
    ----------
    model : str or Upscaler
        A model or its name.
    distances : sequence of float
        Between the points of a pair, pixels of the source.
    levels : sequence of float
        Peaks of a single point in the source over the noise; infinity for none.
    count : int
        Pairs for each distance, and single points, for each level.
    forward : ForwardModel, optional
        The instrument; left out, pixels that integrate over their area behind a
        Gaussian of 0.4 pixels of the source.
    background : array-like, optional
        Of the model's number of axes, on the grid of the result; flat if left
        out.
    height : float, optional
        Of a point; left out 1, or the range of the background (0.1 to 99.9 per
        cent).
    seed : int
        For places, directions and noise.
    cancelled : threading.Event or callable, optional
        Stops the test when set, or when it returns True.

    Returns
    -------
    PlantedPoints

    Raises
    ------
    InputError
        If a number makes no sense, or the background does not fit.
    CancelledError
        If `cancelled` stopped it.
    """
    check = as_callable(cancelled)
    upscaler = as_upscaler(model)
    instrument, tall = _settle(upscaler, forward, background, height, count)
    if not distances or any(not 0 < d <= 6 for d in distances):
        msg = f"distances must be above 0 and at most 6 pixels of the source, got {distances!r}"
        raise InputError(msg)
    rng = np.random.default_rng(seed)
    factor = instrument.factor
    apart = np.repeat([*distances, 0.0], count)
    scene = lay_out(len(apart), factor, background, rng)
    ways = _directions(len(apart), factor, rng)
    for number, (distance, way) in enumerate(zip(apart, ways, strict=True)):
        if distance:
            for end in (-0.5, 0.5):
                point(scene, number, end * distance * way, tall)
        else:
            # Two points that coincide are twice as high as one.
            point(scene, number, 0 * way, tall * (1 + number % 2))
    bare = [dip(scene, scene.truth, n, d * ways[n]) for n, d in enumerate(apart) if d]
    # On a rough background a point may have a neighbour in truth.
    alone = [n for n, d in enumerate(apart) if not d and not is_split(scene, scene.truth, n)]
    doublets, singles = [], []
    peak = tall * source_peak(instrument)
    for level, images in _results(upscaler, scene, instrument, peak, levels, rng, check):
        dips = np.array(
            [
                bare,
                *([dip(scene, x, n, apart[n] * ways[n]) for n in range(len(bare))] for x in images),
            ]
        ).reshape(3, len(distances), count)
        means, shares = dips.mean(2), (dips >= APART).mean(2)
        doublets += [
            Doublets(
                d, level, count, *(float(m[i]) for m in means), *(float(s[i]) for s in shares[1:])
            )
            for i, d in enumerate(distances)
        ]
        splits = [float(np.mean([is_split(scene, x, n) for n in alone])) for x in images]
        singles.append(Singles(level, len(alone), *splits))
    doublets.sort(key=lambda d: d.distance)
    return PlantedPoints(upscaler.spec.name, tuple(doublets), tuple(singles))


def planted_lesions(
    model: str | Upscaler,
    *,
    widths: Sequence[float] = WIDTHS,
    levels: Sequence[float] = CONTRASTS,
    count: int = 20,
    forward: ForwardModel | None = None,
    background: Any = None,
    contrast: float | None = None,
    seed: int = 0,
    cancelled: Cancelled | None = None,
) -> PlantedLesions:
    """Plant bright and dark lesions, and measure how much of them a model keeps.

    Contrast is the mean within half a lesion's width less that of a shell
    around it, less the same of the background alone.

    Parameters
    ----------
    model : str or Upscaler
        A model or its name.
    widths : sequence of float
        Of the lesions, pixels of the source.
    levels : sequence of float
        Contrast over noise; infinity for no noise.
    count : int
        Lesions for each width and level, and empty cells beside them.
    forward, background, seed, cancelled
        See `planted_doublets`.
    contrast : float, optional
        Of a lesion; left out 1, or a fifth of the range of the background.

    Returns
    -------
    PlantedLesions

    Raises
    ------
    InputError
        If a number makes no sense, or the background does not fit.
    CancelledError
        If `cancelled` stopped it.
    """
    check = as_callable(cancelled)
    upscaler = as_upscaler(model)
    instrument, tall = _settle(upscaler, forward, background, contrast, count)
    if contrast is None and background is not None:
        tall /= 5
    if not widths or any(not 1 <= w <= 8 for w in widths):
        msg = f"widths must be 1 to 8 pixels of the source, got {widths!r}"
        raise InputError(msg)
    rng = np.random.default_rng(seed)
    planted = np.repeat(widths, 2 * count)
    scene = lay_out(len(planted), instrument.factor, background, rng)
    # Of four cells one holds a bright disc, one a dark one, and two hold nothing.
    signs = np.tile([1.0, 0.0, -1.0, 0.0], len(planted) // 4 + 1)[: len(planted)]
    for number, (width, sign) in enumerate(zip(planted, signs, strict=True)):
        if sign:
            disc(scene, number, width, sign * tall)
    bare = contrasts(scene, scene.background, planted)
    true = contrasts(scene, scene.truth, planted) - bare
    typical = {w: float(np.abs(true[(planted == w) & (signs != 0)]).mean()) for w in widths}
    lesions = []
    for level, images in _results(upscaler, scene, instrument, tall, levels, rng, check):
        seen = [contrasts(scene, x, planted) - bare for x in images]
        for width in widths:
            there, empty = (planted == width) & (signs != 0), (planted == width) & (signs == 0)
            kept = [s[there] / true[there] for s in seen]
            made = [np.abs(s[empty]) / typical[width] >= _FOUND for s in seen]
            lesions.append(
                Lesions(
                    width, level, int(there.sum()),
                    *(float(k.mean()) for k in kept),
                    *(float((k < _FOUND).mean()) for k in kept),
                    *(float(m.mean()) for m in made),
                )
            )  # fmt: skip
    lesions.sort(key=lambda x: x.width)
    return PlantedLesions(upscaler.spec.name, tuple(lesions))


def _settle(
    model: Upscaler, forward: ForwardModel | None, background: Any, height: float | None, count: int
) -> tuple[ForwardModel, float]:
    """Return the instrument and the height of what is planted."""
    spec = model.spec
    instrument = default_instrument(spec.scale) if forward is None else forward
    if instrument.factor != spec.scale:
        msg = f"forward has the factor {instrument.factor}, but the model {spec.scale}"
        raise InputError(msg)
    if count < 2:
        msg = f"count must be 2 or more, got {count}"
        raise InputError(msg)
    if height is None:
        height = 1.0
        if background is not None:
            low, high = np.percentile(check_image(background, "background"), (0.1, 99.9))
            height = float(high - low)
    if not (math.isfinite(height) and height > 0):
        msg = f"what is planted must have a height above 0, got {height}"
        raise InputError(msg)
    return instrument, height


def _results(
    model: Upscaler,
    scene: Scene,
    forward: ForwardModel,
    signal: float,
    levels: Sequence[float],
    rng: np.random.Generator,
    check: Callable[[], None],
) -> Iterator[tuple[float, tuple[Image, Image]]]:
    """Yield, per level, what the model and cubic interpolation make of the scene."""
    if not levels or any(not level > 0 for level in levels):
        msg = f"levels must be above 0, got {levels!r}"
        raise InputError(msg)
    cubic = load_model(interpolation_spec("cubic", forward.factor).name)
    for level in levels:
        source = record(scene, forward, signal / level, model.spec.channels, rng)
        yield level, (run(model, source, check), run(cubic, source, check))


def _directions(count: int, factor: Sequence[int], rng: np.random.Generator) -> Image:
    """Return unit vectors, along the axes that are refined (all, if none is)."""
    ways = rng.normal(size=(count, len(factor)))
    if any(k > 1 for k in factor):
        ways *= np.array(factor) > 1
    return np.asarray(ways / np.linalg.norm(ways, axis=1, keepdims=True))
