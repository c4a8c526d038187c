"""Colours for grey images: what they would look like as stained tissue in transmitted light."""

from __future__ import annotations

import numpy as np

_STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
"""Absorbance of haematoxylin, eosin and diaminobenzidine in red, green and blue.

Ruifrok & Johnston (2001), table of the optical density matrix.
"""

_SPREAD = 0.12
"""Standard deviation of the absorbances drawn around those of the stains."""


def stained(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colour a grey image as a section with two stains.

    The grey values are the concentration of the first stain, those of the
    image turned around the concentration of the second, so that each has
    detail of its own. Light is absorbed by Beer and Lambert's law.

    Parameters
    ----------
    grey : ndarray
        Shape (*spatial), black and white near 0 and 1.
    rng : numpy.random.Generator
        Draws two of three stains, their colours and strengths, and whether
        bright or dark grey is much stain.

    Returns
    -------
    ndarray
        Shape (3, *spatial), float32; black and white near 0 and 1.

    References
    ----------
    A. C. Ruifrok and D. A. Johnston, Quantification of histochemical staining
    by color deconvolution, Analytical and Quantitative Cytology and Histology
    23 (2001).
    """
    chosen = rng.choice(len(_STAINS), size=2, replace=False)
    colours = np.abs(np.asarray(_STAINS)[chosen] + rng.normal(0.0, _SPREAD, (2, 3)))
    strengths = rng.uniform((0.8, 0.2), (2.5, 1.2))
    clipped = np.clip(grey, -0.1, 1.2)
    amounts = np.stack([clipped, np.flip(clipped)])
    if rng.random() < 0.5:
        amounts = 1 - amounts
    density = np.tensordot((colours * strengths[:, None]).T, amounts, axes=1)
    return np.exp(-density).astype(np.float32)
