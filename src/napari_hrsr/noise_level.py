"""How noisy a plane is, measured from the plane alone."""

from __future__ import annotations

import numpy as np

_GAUSSIAN_MAD = 0.6744897501960817
"""Median absolute value of a normal variable of unit standard deviation."""

_STRUCTURE_RATIO = 0.5
"""Response to structure, squared, at full resolution against that after binning by two.

Measured on clean images on coarse grids: median 0.2 (blurred) to 0.7 (pixel areas).
For white noise it is 4.
"""


def estimate_noise(plane: np.ndarray) -> float:
    """Estimate the standard deviation of white noise in a plane.

    The plane is filtered with the mixed second difference of Immerkaer
    (1996), which answers to noise and hardly to edges and gradients, and the
    median absolute response is taken (Donoho & Johnstone 1994). Texture
    answers too; but where binning by two halves white noise, it leaves texture
    as strong or makes it stronger. So the same is measured on the binned plane,
    and what both have in common is subtracted. Where the noise grows with the
    signal the answer is that of a typical pixel, not of the brightest.

    Parameters
    ----------
    plane : ndarray
        Shape (Y, X), any real dtype. Pixels that are not finite are left out.

    Returns
    -------
    float
        Standard deviation in the units of the plane; 0.0 for a flat plane or
        one with fewer than 6 pixels along an axis.
    """
    x = np.asarray(plane, dtype=np.float32)
    if x.ndim != 2 or min(x.shape) < 6:
        return 0.0
    # Infinities would warn in the differences; as NaN they pass through and are left out.
    x = np.where(np.isfinite(x), x, np.nan)
    fine = _response(x)
    rows, columns = (n // 2 for n in x.shape)
    blocks = x[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2)
    coarse = _response(blocks.mean(axis=(1, 3)))
    variance = (fine**2 - _STRUCTURE_RATIO * coarse**2) / (1 - _STRUCTURE_RATIO / 4)
    return float(np.sqrt(max(variance, 0.0)))


def _response(x: np.ndarray) -> float:
    """Return the noise that would give this response if there were no structure."""
    response = np.diff(np.diff(x, 2, axis=0), 2, axis=1)
    response = np.abs(response[np.isfinite(response)])
    # The filter's weights squared add up to 36.
    return float(np.median(response)) / (6 * _GAUSSIAN_MAD) if response.size else 0.0
