"""SQUIRREL: where a result differs from its source once blur, gain and offset are matched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_hrsr.evaluation.blur_fitting import (
    WIDEST_BLUR,
    best_blur,
    degraded,
    gain_and_offset,
    image_pair,
)
from napari_hrsr.evaluation.images import Image, plain
from napari_hrsr.evaluation.scores import pearson
from napari_hrsr.forward import ForwardModel


@dataclass(frozen=True, slots=True, eq=False)
class ResolutionScaled:
    """The result, blurred and scaled until it is as like the source as can be.

    Attributes
    ----------
    error_map : ndarray
        Shape of the source: absolute difference, in the source's units.
    error : float
        Resolution-scaled error: root mean square difference, source's units.
    pearson : float
        Resolution-scaled Pearson correlation, -1 to 1.
    gain, offset : float
        What the blurred result was multiplied by, and what was added.
    sigma : tuple of float
        Standard deviation of the blur per axis, in pixels of the result.
    at_limit : bool
        True if the blur is as wide as is allowed: the two hardly agree.
    """

    error_map: Image
    error: float
    pearson: float
    gain: float
    offset: float
    sigma: tuple[float, ...]
    at_limit: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, without the map, in values that JSON can hold."""
        names = ("error", "pearson", "gain", "offset", "sigma", "at_limit")
        written: dict[str, Any] = plain({name: getattr(self, name) for name in names})
        return written


def resolution_scaled_error(
    result: Any,
    source: Any,
    *,
    factor: float | Sequence[float] | None = None,
    check: Callable[[], None] = lambda: None,
) -> ResolutionScaled:
    """Map where a result differs from its source once blur, gain and offset are matched.

    Culley et al., Quantitative mapping and minimization of super-resolution
    optical imaging artifacts (SQUIRREL, 2018). The width of a Gaussian is found
    by bounded optimisation, of a volume one along the first axis and one along
    the others; for each width gain and offset follow by least squares. Pixels
    of the source integrate over their area.

    Parameters
    ----------
    result, source, factor, check
        As for `check_consistency`.

    Returns
    -------
    ResolutionScaled

    Raises
    ------
    InputError
        If the images do not belong together.
    """
    fine, coarse, factors = image_pair(result, source, factor)
    model = ForwardModel(factors)
    sigma = best_blur(fine, coarse, model, scaled=True, check=check)
    blurred = degraded(fine, replace(model, psf_sigma=sigma))
    gain, offset = gain_and_offset(blurred, coarse)
    difference = gain * blurred + offset - coarse
    limit = any(s > 0.99 * WIDEST_BLUR * k for s, k in zip(sigma, factors, strict=True))
    return ResolutionScaled(
        np.abs(difference), float(np.sqrt((difference**2).mean())),
        pearson(blurred, coarse), gain, offset, sigma, limit,
    )  # fmt: skip
