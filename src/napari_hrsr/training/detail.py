"""What an adversarial result is reported with: its detail, and whether it is true."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from napari_hrsr.forward import ForwardModel
from napari_hrsr.training.adversarial_losses import consistency_loss
from napari_hrsr.training.spectrum import SHORTEST, compare_rings
from napari_hrsr.training.validation import ValidationImage, run_network


def measure_detail(network: nn.Module, images: Sequence[ValidationImage]) -> dict[str, float]:
    """Measure the strength and the place of detail in the upper half of the band.

    Parameters
    ----------
    network : Module
        In evaluation mode.
    images : sequence of ValidationImage
        To measure on; those with an axis too short for a spectrum count for
        the consistency only.

    Returns
    -------
    dict
        ``spectrum_distance``: mean absolute natural logarithm of the ratio of
        powers, 0 at best; ``ring_correlation``: with the truth, 1 at best;
        ``inconsistency``: mean absolute difference between the recorded result
        and the measurement freed of its noise, 0 at best. Means over images;
        what no image is large enough for is left out.
    """
    distance, correlation, departure = [], [], []
    for image in images:
        result = run_network(network, image)
        instrument = image.pair.instrument or pixel_areas(image)
        departure.append(float(consistency_loss(result, image.fine, [instrument])))
        if min(image.fine.shape[2:]) < SHORTEST:
            continue
        for made, true in zip(result[0].numpy(), image.fine[0].numpy(), strict=True):
            rings = compare_rings(made, true)
            distance.append(rings.distance())
            correlation.append(rings.agreement())
    values = {
        "spectrum_distance": distance,
        "ring_correlation": correlation,
        "inconsistency": departure,
    }
    return {name: float(np.mean(numbers)) for name, numbers in values.items() if numbers}


def pixel_areas(image: ValidationImage) -> ForwardModel:
    """Return the instrument that stands for an unknown one: coarse pixels average fine ones."""
    lengths = zip(image.fine.shape[2:], image.coarse.shape[2:], strict=True)
    return ForwardModel(tuple(fine // coarse for fine, coarse in lengths))
