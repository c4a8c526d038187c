"""Random but realistic ways to record a fine image on a coarse grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from napari_hrsr.forward import ForwardModel, Sampling


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
    """

    instrument: ForwardModel
    photons: float = math.inf
    read_noise: float = 0.0

    @property
    def noisy(self) -> bool:
        """Whether any noise is added."""
        return math.isfinite(self.photons) or self.read_noise > 0


def draw_degradation(
    rng: np.random.Generator, factor: tuple[int, ...], noisy_fraction: float = 0.4
) -> Degradation:
    """Draw an instrument and, for a part of the draws, noise.

    Three in ten are antialiased bicubic sampling, four pixel areas, and three a
    Gaussian point spread function of 0.3 to 1.0 fine pixels before pixel areas.
    Noise is Poisson of 50 to 2000 photons at white plus Gaussian of 0.2 to 4
    per cent of white, both log-uniform.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    factor : tuple of int
        Fine pixels in a coarse one, per axis.
    noisy_fraction : float
        Probability of noise, 0 to 1.

    Returns
    -------
    Degradation
    """
    kind = rng.random()
    noisy = rng.random() < noisy_fraction
    sampling: Sampling = "bicubic" if kind < 0.3 else "area"
    sigma = float(rng.uniform(0.3, 1.0)) if kind > 0.7 else 0.0
    instrument = ForwardModel(factor, (sigma,) * len(factor), sampling)
    if not noisy:
        return Degradation(instrument)
    photons = math.exp(rng.uniform(math.log(50), math.log(2000)))
    read_noise = math.exp(rng.uniform(math.log(0.002), math.log(0.04)))
    return Degradation(instrument, photons, read_noise)


def degrade(fine: np.ndarray, degradation: Degradation, rng: np.random.Generator) -> np.ndarray:
    """Record a fine image on the coarse grid.

    Parameters
    ----------
    fine : ndarray
        Shape (*spatial), float32, black and white near 0 and 1; each length a
        multiple of the factor.
    degradation : Degradation
        How.
    rng : numpy.random.Generator
        Source of the noise.

    Returns
    -------
    ndarray
        Shape (*(spatial // factor)), float32, in the same units.
    """
    with torch.no_grad():
        tensor = torch.from_numpy(np.ascontiguousarray(fine, dtype=np.float32))
        coarse: np.ndarray = degradation.instrument.apply(tensor).numpy()
    if math.isfinite(degradation.photons):
        expected = np.maximum(coarse, 0.0) * degradation.photons
        # Below zero there are no photons to count, but the offset is kept.
        coarse = rng.poisson(expected) / degradation.photons + np.minimum(coarse, 0.0)
    if degradation.read_noise > 0:
        coarse = coarse + rng.normal(0.0, degradation.read_noise, coarse.shape)
    return coarse.astype(np.float32)
