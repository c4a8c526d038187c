"""Which frames show the same scene, and which do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.errors import InputError
from napari_hrsr.frames.motions import Motion
from napari_hrsr.frames.registering import Registration, register_pair

Floats = NDArray[np.float64]

SAME_SCENE = 0.6
"""Least correlation of frames of one scene; different scenes stay below 0.5."""

LEAST_OVERLAP = 0.25
"""Least part of a frame that must show what the reference shows."""


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Frames that fit a reference, and those that do not.

    Attributes
    ----------
    reference : int
        The frame that all others are laid on.
    found : dict
        `Registration` of every other frame.
    left_out : dict
        Why, for every frame that does not fit.
    """

    reference: int
    found: dict[int, Registration]
    left_out: dict[int, str]


def why_not(found: Registration) -> str | None:
    """Say why a frame does not fit, or None.

    Parameters
    ----------
    found : Registration
        Of the frame.
    """
    if found.overlap < LEAST_OVERLAP:
        return f"shows only {100 * found.overlap:.0f} % of what the reference shows"
    # Noise must not make a frame look different: it gets the benefit of three standard errors.
    if found.correlation + 3 * found.certainty < SAME_SCENE:
        return (
            f"does not show the same scene (correlation {found.correlation:.2f}, "
            f"{SAME_SCENE:g} is needed)"
        )
    return None


def select_frames(
    pieces: Sequence[Floats],
    noise: float,
    *,
    reference: int | None = None,
    motions: Sequence[Motion] | None = None,
    transform: str = "translation",
    step: Callable[[int], None] = lambda done: None,
) -> Selection:
    """Lay frames on a reference and leave out those that do not fit.

    Parameters
    ----------
    pieces : sequence of ndarray
        The same part of every frame.
    noise : float
        Standard deviation of a frame's noise.
    reference : int, optional
        The frame to lay all others on. By default the first, unless fewer than
        half of the others fit it: then the one that most others fit.
    motions : sequence of Motion, optional
        Of all frames, where they are known.
    transform : {"translation", "rigid", "affine"}
        How frames may lie on each other.
    step : callable
        Called with how many frames were compared.

    Raises
    ------
    InputError
        If no frame fits another one.
    """
    chosen = _fitting(pieces, noise, reference or 0, motions, transform, step)
    others = len(pieces) - 1
    if reference is None and 2 * (others - len(chosen.left_out)) < others:
        candidates = [
            _fitting(pieces, noise, k, motions, transform, step) for k in range(1, len(pieces))
        ]
        chosen = min([chosen, *candidates], key=lambda c: len(c.left_out))
    if len(chosen.left_out) == others:
        why = "; ".join(f"frame {k} {text}" for k, text in list(chosen.left_out.items())[:3])
        msg = (
            f"no frame fits the reference, frame {chosen.reference}: {why}. Choose another "
            "reference, or give the shifts"
        )
        raise InputError(msg)
    return chosen


def _fitting(
    pieces: Sequence[Floats],
    noise: float,
    reference: int,
    motions: Sequence[Motion] | None,
    transform: str,
    step: Callable[[int], None],
) -> Selection:
    found: dict[int, Registration] = {}
    left_out: dict[int, str] = {}
    for k, piece in enumerate(pieces):
        if k == reference:
            continue
        found[k] = register_pair(
            pieces[reference],
            piece,
            noise,
            motion=None if motions is None else motions[k],
            transform=transform,
        )
        reason = why_not(found[k])
        if reason is not None:
            left_out[k] = reason
        step(len(found))
    return Selection(reference, found, left_out)
