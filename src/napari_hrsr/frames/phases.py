"""Where the pixels of the frames lie within a pixel: whether frames add resolution.

::

    reference   |   o   |   o   |   o   |
    phase 0.0   |   o   |   o   |   o   |      the same places again: less noise
    phase 0.5       |   o   |   o   |          the places between: finer detail

Frames that sample a scene at the same places, up to whole pixels, see the same
detail. Their average has less noise, and that is all there is to be had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.axes import SPATIAL

Floats = NDArray[np.float64]

LEAST_SPREAD = 0.02
"""Spread, see `Phases`, from which on phases differ: that of 0.03 pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Phases:
    """Sampling phases of the frames.

    Attributes
    ----------
    fractions : ndarray, shape (frames, axes)
        Shifts less whole pixels, 0 to 1.
    spread : tuple of float
        Per axis ``1 - |mean(exp(2 pi i phase))|``: 0 if all frames sample the
        same places, 1 if they share a pixel evenly between them.
    adds : tuple of bool
        Along which axes frames add resolution.
    """

    fractions: Floats
    spread: tuple[float, ...]
    adds: tuple[bool, ...]

    def describe(self) -> str:
        """Say what may be expected, in a sentence or two."""
        count = len(self.fractions)
        letters = SPATIAL[-len(self.adds) :].lower()
        if not any(self.adds):
            return (
                f"The {count} frames sample the scene at the same places (phases differ by "
                f"{self.widest():.2f} pixels), so together they hold less noise, but no finer "
                "detail than one of them: the result is their average, interpolated. For more "
                "detail, move the camera or the sample by a part of a pixel between frames."
            )
        if not all(self.adds):
            poor = " and ".join(a for a, yes in zip(letters, self.adds, strict=True) if not yes)
            return (
                f"Along {poor} the {count} frames sample the scene at the same places: there the "
                "result has less noise, but no finer detail."
            )
        return (
            f"The {count} frames sample the scene at different places: together they hold finer "
            "detail than one of them."
        )

    def widest(self) -> float:
        """Return the largest distance of two phases along any axis, in pixels."""
        turned = np.abs(self.fractions[:, None] - self.fractions[None])
        return float(np.minimum(turned, 1 - turned).max(initial=0.0))


def sampling_phases(shifts: Floats, errors: Sequence[float] = ()) -> Phases:
    """Measure how evenly frames share a pixel.

    Parameters
    ----------
    shifts : ndarray, shape (frames, axes)
        In pixels.
    errors : sequence of float
        Standard error of the shifts per axis: phases that differ by no more
        are the same.
    """
    shifts = np.asarray(shifts, float)
    spread = 1 - np.abs(np.exp(2j * np.pi * shifts).mean(0))
    sure = np.asarray(errors if len(errors) else np.zeros(shifts.shape[1]), float)
    # Normal phases of standard deviation s have the spread 2 pi^2 s^2.
    least = LEAST_SPREAD + 2 * np.pi**2 * 2 * sure**2
    return Phases(
        shifts % 1.0,
        tuple(float(s) for s in spread),
        tuple(bool(s > t) for s, t in zip(spread, least, strict=True)),
    )
