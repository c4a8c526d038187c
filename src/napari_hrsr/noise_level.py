"""How noisy a plane is, measured from the plane alone."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_SIDE = 8
"""Pixels along each side of a block."""

_SMALLEST = 10
"""Below this many pixels along an axis there are too few blocks."""

_BLOCKS = 32768
"""Blocks that are looked at, at most."""

_LEAK = (0.2, 0.8)
"""How much of the detail in the middle band may appear in the high band.

Detail fades towards high frequencies: on clean images the ratio is 0.02
(blurred) to 0.3 (pixel areas). At least the lower limit is taken off, and
above the upper one detail cannot be told from noise.
"""

_STEPS = 60
"""Steps of the fit; twice as many change the answer by about one per cent."""


def estimate_noise(plane: np.ndarray) -> float:
    """Estimate the standard deviation of white noise in a plane.

    The plane is cut into blocks of 8 x 8 pixels, each of which is transformed
    by the discrete cosine transform, as by Ponomarenko et al. (2007). White
    noise has the same variance in every coefficient, detail fades towards high
    frequencies. So over all blocks the energy of the highest frequencies is
    explained by a variance that depends linearly on the brightness, as that of
    photon noise does (Foi et al. 2008), plus a constant part of the energy that
    the middle frequencies have beyond that variance. The fit is the most likely
    one for energies, whose error grows with their size; no part of it is
    negative (multiplicative steps, Fevotte et al. 2009).

    Where the noise grows with the signal the answer is the root mean square
    over the plane, flat parts left out.

    Parameters
    ----------
    plane : ndarray
        Shape (Y, X), any real dtype. Blocks with pixels that are not finite
        are left out.

    Returns
    -------
    float
        Standard deviation in the units of the plane; 0.0 for a flat plane or
        one with fewer than 10 pixels along an axis.
    """
    x = np.asarray(plane)
    if x.ndim != 2 or min(x.shape) < _SMALLEST:
        return 0.0
    brightness, high, middle = _block_energies(x)
    scale = float(high.mean()) if high.size else 0.0
    if scale <= 0:
        return 0.0
    return float(np.sqrt(_mean_variance(brightness, high / scale, middle / scale) * scale))


def _block_energies(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, high and middle frequency energy of every block that is not flat.

    Energies are those of one coefficient: for white noise both are its variance.
    """
    finite = np.isfinite(x)
    if not finite.any():
        return np.zeros(0), np.zeros(0), np.zeros(0)
    # Centred first: single precision would lose the noise on a high offset.
    x = np.where(finite, x - x[finite].mean(dtype=np.float64), np.nan).astype(np.float32)
    count = (x.shape[0] - _SIDE + 1) * (x.shape[1] - _SIDE + 1)
    step = next((s for s in (4, 2) if count > 1000 * s * s), 1)
    blocks = sliding_window_view(x, (_SIDE, _SIDE))[::step, ::step].reshape(-1, _SIDE**2)
    if len(blocks) > _BLOCKS:
        blocks = blocks[np.linspace(0, len(blocks) - 1, _BLOCKS).astype(int)]
    brightness = blocks.mean(axis=1)
    kept = np.isfinite(brightness)
    blocks, brightness = blocks[kept], brightness[kept]
    high, middle = (np.square(blocks @ basis).mean(axis=1) for basis in _BASES)
    # Padding and saturated parts have no noise to measure.
    total = high + middle
    live = total > 1e-10 * total.mean() if len(total) else total > 0
    return brightness[live], high[live], middle[live]


def _mean_variance(brightness: np.ndarray, high: np.ndarray, middle: np.ndarray) -> float:
    """Fit the high frequency energy and return the mean of the variance of the noise."""
    low, top = brightness.min(), brightness.max()
    bright = (brightness - low) / (top - low) if top > low else np.zeros_like(high)
    # Variance where it is darkest, where it is brightest, and what leaks from the middle band.
    causes = np.stack([1 - bright, bright, middle])
    parts = np.array([0.5, 0.5, 0.3], dtype=causes.dtype)
    for _ in range(_STEPS):
        inverse = 1 / np.maximum(parts @ causes, 1e-9)
        parts = parts * (causes @ (high * inverse**2)) / np.maximum(causes @ inverse, 1e-30)
        parts[2] = np.clip(parts[2], *_LEAK)
    # Noise is in the middle band too: what leaked of it belongs to the noise.
    return float((parts[:2] @ causes[:2]).mean() / (1 - parts[2]))


def _basis(first: int, last: int) -> np.ndarray:
    """Return the cosine functions whose frequencies add up to `first` to `last`, as columns."""
    order = np.arange(_SIDE)
    cosines = np.cos(np.pi * (order + 0.5) * order[:, None] / _SIDE) * np.sqrt(2 / _SIDE)
    cosines[0] /= np.sqrt(2)
    functions = [
        np.outer(cosines[v], cosines[u]).ravel()
        for v in range(_SIDE)
        for u in range(_SIDE)
        if first <= v + u <= last
    ]
    return np.stack(functions, axis=1).astype(np.float32)


_BASES = (_basis(12, 14), _basis(8, 11))
"""High and middle frequencies."""
