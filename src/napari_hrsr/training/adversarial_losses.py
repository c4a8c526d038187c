"""What a generator and a discriminator pay, and how to see that one has given up.

Logits are what a discriminator says: high where it takes an image for a real
one, of any shape (one a pixel, or one an image). No network is downloaded:
the only features that are compared are the discriminator's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_hrsr.errors import InputError
from napari_hrsr.forward import ForwardModel

Objective = Literal["relativistic", "cross-entropy", "hinge"]

WINDOW = 200
"""Steps that are looked at for a collapse."""
_CHANCE = {"relativistic": math.log(2), "cross-entropy": math.log(2), "hinge": 1.0}


def discriminator_loss(objective: Objective, real: Tensor, made: Tensor) -> Tensor:
    """Return what the discriminator pays for its opinions.

    ``"cross-entropy"`` (Goodfellow et al. 2014): are the real ones called real
    and the made ones made? ``"relativistic"`` (Jolicoeur-Martineau 2018, the
    average variant): are the real ones more real than the made ones are on
    average? ``"hinge"`` (Lim and Ye 2017): as the first, and sure opinions
    that are right cost nothing.

    Parameters
    ----------
    objective : str
        One of the three.
    real, made : Tensor
        Logits of real and of made images.

    Returns
    -------
    Tensor
        Scalar; ln 2 (hinge: 1) for a discriminator that cannot tell them
        apart, towards 0 for one that always can.

    Raises
    ------
    InputError
        If the objective is unknown.
    """
    _check(objective)
    if objective == "hinge":
        return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + made).mean())
    if objective == "relativistic":
        real, made = real - made.mean(), made - real.mean()
    return 0.5 * (F.softplus(-real).mean() + F.softplus(made).mean())


def generator_loss(objective: Objective, real: Tensor, made: Tensor) -> Tensor:
    """Return what the generator pays for being seen through.

    Parameters
    ----------
    objective : str
        As for `discriminator_loss`; cross-entropy is the variant that does
        not fade where the discriminator is sure.
    real, made : Tensor
        Logits of real and of made images.

    Returns
    -------
    Tensor
        Scalar; ln 2 (hinge: 0) where the discriminator cannot tell.

    Raises
    ------
    InputError
        If the objective is unknown.
    """
    _check(objective)
    if objective == "hinge":
        return -made.mean()
    if objective == "cross-entropy":
        return F.softplus(-made).mean()
    return discriminator_loss(objective, real=made, made=real)


def feature_loss(real: Sequence[Tensor], made: Sequence[Tensor]) -> Tensor:
    """Return how far the discriminator's features of two images are apart.

    Salimans et al. 2016 and Wang et al. 2018 (pix2pixHD). Each layer counts
    against its own strength, so that a discriminator whose weights grow does
    not change the balance.

    Parameters
    ----------
    real, made : sequence of Tensor
        Features by layer, of the same shapes; no gradient flows into `real`.

    Returns
    -------
    Tensor
        Scalar; 0 for the same features, about 1 for unrelated ones.
    """
    distances = [
        (m - r.detach()).abs().mean() / r.detach().abs().mean().clamp(min=1e-6)
        for r, m in zip(real, made, strict=True)
    ]
    return torch.stack(distances).mean()


def consistency_loss(
    result: Tensor, truth: Tensor, instruments: Sequence[ForwardModel | None]
) -> Tensor:
    """Return how much recording the result would give another measurement.

    What is compared is the recorded result and the recorded truth, which is
    the measurement without its noise: a result need not reproduce noise.

    Parameters
    ----------
    result, truth : Tensor
        Shape (N, C, *spatial).
    instruments : sequence of ForwardModel or None
        What recorded each of the N images; None counts for nothing.

    Returns
    -------
    Tensor
        Scalar, the mean absolute difference in the units of the images; 0
        where no instrument is known.
    """
    known = [
        (instrument, difference)
        for instrument, difference in zip(instruments, result - truth, strict=True)
        if instrument is not None
    ]
    if not known:
        return result.new_zeros(())
    # Recording is linear: the difference of two recordings is that of the difference.
    return torch.stack([i.apply(d).abs().mean() for i, d in known]).mean()


def measurement_loss(
    result: Tensor, coarse: Tensor, noise: Tensor, instrument: ForwardModel
) -> Tensor:
    """Return how far the recorded result is from a measurement, beyond its noise.

    Parameters
    ----------
    result : Tensor
        Shape (N, C, *(spatial * factor)).
    coarse : Tensor
        Shape (N, C, *spatial), the measurement.
    noise : Tensor
        Shape (N, 1, 1, ...), standard deviation of its noise.
    instrument : ForwardModel
        What recorded it.

    Returns
    -------
    Tensor
        Scalar: the mean of what the absolute differences exceed the noise by.
    """
    return F.relu((instrument.apply(result) - coarse).abs() - noise).mean()


def collapse_warning(
    objective: Objective,
    discriminator_losses: Sequence[float],
    generator_losses: Sequence[float],
) -> str | None:
    """Say in a sentence what is wrong if one side has given up.

    Parameters
    ----------
    objective : str
        As for `discriminator_loss`.
    discriminator_losses, generator_losses : sequence of float
        Of the steps so far, in their order; the last 200 are looked at.

    Returns
    -------
    str or None
        None where nothing is wrong, or where it is too early to say.

    Raises
    ------
    InputError
        If the objective is unknown.
    """
    _check(objective)
    losses = np.array([discriminator_losses[-WINDOW:], generator_losses[-WINDOW:]], np.float64)
    if not np.isfinite(losses).all():
        return "The adversarial losses are no longer numbers: start again with lower learning rates"
    if losses.shape[1] < WINDOW:
        return None
    mean = losses[0].mean() / _CHANCE[objective]
    if mean < 0.1:
        return (
            "The discriminator tells every result from a real image, so the generator learns "
            "nothing from it: lower the discriminator's learning rate"
        )
    if np.abs(losses[0] / _CHANCE[objective] - 1).max() < 0.01:
        return (
            "The discriminator cannot tell results from real images, so the generator learns "
            "nothing from it: raise the discriminator's learning rate"
        )
    if mean > 2:
        return (
            "The discriminator is wrong more often than by chance, the two chase each other: "
            "lower both learning rates"
        )
    return None


def _check(objective: str) -> None:
    if objective not in get_args(Objective):
        msg = f"unknown objective {objective!r}: choose one of {', '.join(get_args(Objective))}"
        raise InputError(msg)
