"""What moved or changed inside the scene: where frames disagree with the fused image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

Floats = NDArray[np.float32]

AROUND = 1.5
"""Standard deviation of the neighbourhood that is judged, in pixels."""

TOLERATED = 0.12
"""Displacement in pixels whose misfit is not taken for a change."""

LIMIT = 3.0
"""Mean squared misfit, over what is expected, from which on something changed."""

CAPPED = 4.0
"""Single pixels count at most this many standard deviations: a hot pixel is no motion."""


def find_changes(
    values: Floats, predicted: Floats, weights: Floats, noise: float
) -> tuple[Floats, Floats]:
    """Find where frames do not show what the fused image predicts.

    Misfit is compared with what noise and a small error of the shift explain.

    Parameters
    ----------
    values, predicted, weights : ndarray, shape (frames, *window)
        What the frames show, what they should, and where they count.
    noise : float
        Standard deviation, same units.

    Returns
    -------
    weights : ndarray, shape (frames, *window)
        Without what changed. Where the first frame, the reference, disagrees
        with the others, it alone is left.
    moving : ndarray, shape window
        Part of the frames that is left out: 1 where only the reference counts.
    """
    changed = np.zeros(values.shape, bool)
    for k in range(len(values)):
        slopes = [np.gradient(predicted[k], axis=a) for a in range(predicted[k].ndim)]
        steep = np.sqrt(sum(np.square(s) for s in slopes))
        expected = noise**2 + (TOLERATED * steep) ** 2
        misfit = np.minimum(np.square(values[k] - predicted[k]) / expected, CAPPED**2)
        near = gaussian_filter(weights[k], AROUND)
        level = gaussian_filter(misfit * weights[k], AROUND) / np.maximum(near, 1e-3)
        changed[k] = (level > LIMIT) & (near > 0.1)
    if not changed.any():
        return weights, np.zeros(values.shape[1:], np.float32)
    # What disagrees has a rim that does, too little to be noticed.
    changed = np.stack([maximum_filter(c, 3) for c in changed])
    alone = changed[0]
    kept = weights * ~changed
    kept[0] = weights[0]
    kept[1:] *= ~alone
    counted = np.maximum((weights[1:] > 0).sum(0), 1)
    moving = (changed[1:] & (weights[1:] > 0)).sum(0) / counted
    return kept, np.where(alone, 1.0, moving).astype(np.float32)
