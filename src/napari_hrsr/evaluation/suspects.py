"""Places where a result contradicts its source far more than around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter

from napari_hrsr.evaluation.consistency import local_score
from napari_hrsr.evaluation.images import plain
from napari_hrsr.evaluation.large_images import boxes, grown

SIZE = 3
"""Side of the structures looked for, pixels of the source."""

STANDS_OUT = 5.0
"""Score from which a place stands out; noise and usual errors of models stay below 3."""

_REACH = 16
"""Pixels around a place that its score depends on, at most."""

_APART = 6
"""Pixels within which only the strongest place is named."""

_MOST = 1000


@dataclass(frozen=True, slots=True)
class Suspects:
    """Places that stand out from a consistency map.

    Attributes
    ----------
    places : tuple of tuple of int
        Pixels of the source, the most suspicious first; at most 1000.
    scores : tuple of float
        Of each; see `local_score`.
    strongest : float
        Highest score anywhere.
    """

    places: tuple[tuple[int, ...], ...]
    scores: tuple[float, ...]
    strongest: float

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in values that JSON can hold."""
        written: dict[str, Any] = plain({name: getattr(self, name) for name in self.__slots__})
        return written


def find_suspects(deviation: Any, check: Callable[[], None] = lambda: None) -> Suspects:
    """Find places where a false structure, some three pixels wide, would be seen.

    Parameters
    ----------
    deviation : array-like
        `Consistency.deviation`, read in parts.
    check : callable
        Called between parts; may raise to stop.
    """
    shape = tuple(int(n) for n in deviation.shape)
    found: list[tuple[float, tuple[int, ...]]] = []
    strongest = 0.0
    for box in boxes(shape):
        check()
        wide, inner = grown(box, (_REACH,) * len(shape), shape)
        sizes = [min(SIZE, n) for n in shape]
        score = local_score(np.asarray(deviation[wide], np.float64), sizes)
        peak = (score >= STANDS_OUT) & (score == maximum_filter(score, SIZE))
        score, peak = score[inner], peak[inner]
        strongest = max(strongest, float(score.max()))
        start = [s.start for s in box]
        for place in np.argwhere(peak):
            where = tuple(int(i) + s for i, s in zip(place, start, strict=True))
            found.append((float(score[tuple(place)]), where))
        found = sorted(found, reverse=True)[: 10 * _MOST]
    kept: list[tuple[float, tuple[int, ...]]] = []
    for value, where in found:
        if len(kept) == _MOST:
            break
        others = np.array([w for _, w in kept], int).reshape(-1, len(shape))
        if not (np.abs(others - np.array(where)).max(1) < _APART).any():
            kept.append((value, where))
    return Suspects(tuple(w for _, w in kept), tuple(v for v, _ in kept), strongest)
