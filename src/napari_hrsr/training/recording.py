"""Recording a fine image with one instrument and its noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from napari_hrsr.forward import ForwardModel

NoiseKind = Literal["gaussian", "rician"]


@dataclass(frozen=True, slots=True)
class Degradation:
    """The instrument and its noise.

    Attributes
    ----------
    instrument : ForwardModel
        Blur and sampling.
    photons : float
        Photons that the value 1.0 stands for; infinity for no shot noise.
    read_noise : float
        Standard deviation of the signal-independent noise, in image units.
    noise : str
        ``"gaussian"``, or ``"rician"``: the noise is in both parts of a complex
        signal, of which the magnitude is recorded, as in MRI.
    """

    instrument: ForwardModel
    photons: float = math.inf
    read_noise: float = 0.0
    noise: NoiseKind = "gaussian"

    @property
    def noisy(self) -> bool:
        """Whether any noise is added."""
        return math.isfinite(self.photons) or self.read_noise > 0


def degrade(fine: np.ndarray, degradation: Degradation, rng: np.random.Generator) -> np.ndarray:
    """Record a fine image on the coarse grid.

    Parameters
    ----------
    fine : ndarray
        Shape (..., *spatial), float32, black and white near 0 and 1; each
        spatial length a multiple of the factor. Channels are leading axes.
    degradation : Degradation
        How.
    rng : numpy.random.Generator
        Source of the noise.

    Returns
    -------
    ndarray
        Shape (..., *(spatial // factor)), float32, in the same units.
    """
    with torch.no_grad():
        tensor = torch.from_numpy(np.ascontiguousarray(fine, dtype=np.float32))
        coarse: np.ndarray = degradation.instrument.apply(tensor).numpy()
    if math.isfinite(degradation.photons):
        expected = np.maximum(coarse, 0.0) * degradation.photons
        # Below zero there are no photons to count, but the offset is kept.
        coarse = rng.poisson(expected) / degradation.photons + np.minimum(coarse, 0.0)
    if degradation.read_noise > 0:
        coarse = coarse + _normal(rng, degradation.read_noise, coarse.shape)
    if degradation.noise == "rician":
        coarse = np.hypot(coarse, _normal(rng, degradation.read_noise, coarse.shape))
    return coarse.astype(np.float32, copy=False)


def _normal(rng: np.random.Generator, sigma: float, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(sigma)
