"""Intervals with a stated coverage, from errors that were measured: split conformal prediction.

The score of a pixel is its error over a normaliser that tells beforehand where
errors are large. The interval is the normaliser times the score that the stated
share of the calibration stays below.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.errors import InputError

Scores = NDArray[np.float64]

_TYPICAL = 0.005
"""Spread of a usual pixel against the range of the image: it only sets the scale."""

_FLOOR = 1e-3
"""Least normaliser against the range: views that agree by chance are not certain."""

_ROUNDING = 1e-12


def normaliser(spread: NDArray[np.floating], span: float) -> NDArray[np.float32]:
    """Return what errors are expected to grow with.

    Errors grow more slowly than the spread over views: with its square root, so
    that an interval is half way, on a logarithmic scale, between one that is
    proportional to the spread and one that is the same everywhere.

    Parameters
    ----------
    spread : ndarray
        From `view_spread`, in any units.
    span : float
        Range of the image, white less black, in the same units.

    Returns
    -------
    ndarray
        float32, same shape and units; never 0.
    """
    relative = np.asarray(spread, np.float32) / np.float32(span)
    widened = np.sqrt(np.float32(_TYPICAL) * relative + np.float32(_FLOOR**2))
    return np.asarray(np.float32(span) * widened, np.float32)


def conformal_factor(units: Sequence[Scores], coverage: float) -> float:
    """Return the factor whose intervals hold the stated share of the truth.

    The share of pixels missed in a unit is a risk between 0 and 1. The factor is
    the least one for which the mean risk of n units, with one more unit of which
    every pixel is missed, is not above ``1 - coverage`` (Angelopoulos et al.,
    Conformal risk control, 2022). For units of one pixel it is the
    ``ceil((n + 1) * coverage)``-th smallest score, as in split conformal
    prediction (Papadopoulos et al., 2002).

    Parameters
    ----------
    units : sequence of ndarray
        Scores of the pixels of each unit, such as a block of an image.
    coverage : float
        Between 0 and 1.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If `coverage` makes no sense, or there are too few units for it.
    """
    check_coverage(coverage)
    filled = [np.asarray(unit, np.float64).ravel() for unit in units if np.size(unit)]
    n = len(filled)
    needed = math.ceil(coverage / (1 - coverage) - _ROUNDING)
    if n < max(1, needed):
        msg = (
            f"a coverage of {coverage:g} needs at least {max(1, needed)} blocks to calibrate on, "
            f"got {n}: give more or larger images, or a lower coverage"
        )
        raise InputError(msg)
    scores = np.concatenate(filled)
    weights = np.concatenate([np.full(unit.size, 1 / (n * unit.size)) for unit in filled])
    order = np.argsort(scores)
    reached = np.cumsum(weights[order])
    wanted = min(1.0, (n + 1) * coverage / n) - _ROUNDING * 10
    place = min(int(np.searchsorted(reached, wanted)), scores.size - 1)
    return float(scores[order[place]])


def grouped_factor(
    groups: Mapping[str, Sequence[Scores]], coverage: float
) -> tuple[float, dict[str, float]]:
    """Return the largest factor of several groups, and that of each.

    Parameters
    ----------
    groups : Mapping
        Units by the name of their group; each group must hold enough of them.
    coverage : float
        Between 0 and 1: at least this is reached in every group.

    Raises
    ------
    InputError
        As `conformal_factor`.
    """
    factors = {name: conformal_factor(units, coverage) for name, units in groups.items()}
    if not factors:
        msg = "there is nothing to calibrate on: give pairs of a source and its truth"
        raise InputError(msg)
    return max(factors.values()), factors


def blocks_of(values: NDArray[np.floating], side: Sequence[int]) -> Iterator[NDArray[np.floating]]:
    """Yield the blocks that an image is cut into; what is left over joins the last one.

    Parameters
    ----------
    values : ndarray, shape (n, *spatial)
        The first axis is not cut.
    side : sequence of int
        Of a block, per spatial axis.
    """
    lengths = values.shape[1:]
    counts = [max(1, n // s) for n, s in zip(lengths, side, strict=True)]
    for at in np.ndindex(*counts):
        key = tuple(
            slice(i * s, n if i == count - 1 else (i + 1) * s)
            for i, s, n, count in zip(at, side, lengths, counts, strict=True)
        )
        yield values[(slice(None), *key)]


def check_coverage(coverage: float) -> None:
    """Refuse a coverage that is no share.

    Raises
    ------
    InputError
        With the value.
    """
    if not (isinstance(coverage, int | float) and 0 < coverage < 1):
        msg = f"coverage is a share between 0 and 1, such as 0.9, got {coverage!r}"
        raise InputError(msg)
