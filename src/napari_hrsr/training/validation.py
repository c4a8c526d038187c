"""How good a network is on images that it does not learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from napari_hrsr.models.nets.interpolation import Interpolation
from napari_hrsr.training.batches import degraded_pair, validation_rng
from napari_hrsr.training.collection import TrainingImage
from napari_hrsr.training.config import TrainingConfig
from napari_hrsr.training.pairs import PairedImage
from napari_hrsr.training.patches import Pair, make_pair

MOST_IMAGES = 16
"""So many images are measured at most, evenly spread over what there is."""

_SIDES = {2: 256, 3: 64}
"""Longest side of the sharp part that is measured, in pixels."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One validation image, as the network sees it and as it should be.

    Attributes
    ----------
    name : str
        Of the image.
    source : ndarray
        Shape ([C,] *spatial), float32, black and white near 0 and 1.
    cubic, model, truth : ndarray
        Shape ([C,] *(spatial * scale)), in the same units.
    colour : bool
        Whether there is a channel axis.
    """

    name: str
    source: np.ndarray
    cubic: np.ndarray
    model: np.ndarray
    truth: np.ndarray
    colour: bool


@dataclass(frozen=True, slots=True)
class ValidationImage:
    """A pair that is measured, with what interpolation makes of it.

    Attributes
    ----------
    name : str
        Of the image.
    coarse, fine, cubic : Tensor
        Shape (1, C, *spatial), the last two on the fine grid.
    noise : Tensor
        What the network is told; shape (1, 1, 1, ...).
    pair : Pair
        Where they come from.
    """

    name: str
    coarse: Tensor
    fine: Tensor
    cubic: Tensor
    noise: Tensor
    pair: Pair

    @property
    def cubic_psnr(self) -> float:
        """Peak signal-to-noise ratio of cubic interpolation, in decibels."""
        return psnr(self.cubic, self.fine)


def psnr(result: Tensor, truth: Tensor) -> float:
    """Return the peak signal-to-noise ratio in decibels, for a peak of one.

    Parameters
    ----------
    result, truth : Tensor
        Same shape, black and white near 0 and 1.
    """
    error = float((result.double() - truth.double()).square().mean())
    return -10 * math.log10(max(error, 1e-12))


def validation_images(
    images: Sequence[TrainingImage] | Sequence[PairedImage], config: TrainingConfig
) -> list[ValidationImage]:
    """Degrade, or read, the middle of some images: the same ones in every run of a seed.

    Parameters
    ----------
    images : sequence of TrainingImage or of PairedImage
        To measure on.
    config : TrainingConfig
        Factor, degradation and seed.
    """
    chosen = np.unique(np.linspace(0, len(images) - 1, MOST_IMAGES).round().astype(int))
    return [_validation_image(images[i], config, int(i)) for i in chosen]


def _validation_image(
    image: TrainingImage | PairedImage, config: TrainingConfig, number: int
) -> ValidationImage:
    side = _SIDES[config.ndim]
    if isinstance(image, PairedImage):
        window = middle(image.shape, (side // max(config.scale),) * config.ndim)
        pair = make_pair(*image.read_pair(window), ndim=config.ndim)
    else:
        lengths = [min(side, n) // k * k for n, k in zip(image.shape, config.scale, strict=True)]
        window = middle(image.shape, lengths)
        pair = degraded_pair(image, window, config, validation_rng(config, number))
    coarse = _batch_of_one(pair.coarse, config.ndim)
    fine = _batch_of_one(pair.fine, config.ndim)
    with torch.no_grad():
        cubic = Interpolation(config.ndim, config.scale)(coarse)
    noise = torch.full((1,) * (config.ndim + 2), pair.noise)
    return ValidationImage(image.name, coarse, fine, cubic, noise, pair)


def middle(shape: Sequence[int], lengths: Sequence[int]) -> tuple[slice, ...]:
    """Return the window of at most these lengths in the middle of an image."""
    taken = [min(n, wanted) for n, wanted in zip(shape, lengths, strict=True)]
    starts = [(n - t) // 2 for n, t in zip(shape, taken, strict=True)]
    return tuple(slice(s, s + t) for s, t in zip(starts, taken, strict=True))


def _batch_of_one(image: np.ndarray, ndim: int) -> Tensor:
    spatial = image.shape[image.ndim - ndim :]
    return torch.from_numpy(np.ascontiguousarray(image.reshape(1, -1, *spatial)))


@torch.no_grad()
def run_network(network: nn.Module, image: ValidationImage) -> Tensor:
    """Return what a network makes of a validation image: float32, on the CPU."""
    device = next(network.parameters()).device
    result: Tensor = network(image.coarse.to(device), image.noise.to(device))
    return result.float().cpu()


def measure(network: nn.Module, images: Sequence[ValidationImage]) -> dict[str, float]:
    """Return the mean of the network's figures beside those of cubic interpolation.

    Parameters
    ----------
    network : Module
        In evaluation mode.
    images : sequence of ValidationImage
        At least one.

    Returns
    -------
    dict
        ``psnr``, ``cubic_psnr`` and their difference ``gain``, in decibels.
    """
    values = [psnr(run_network(network, image), image.fine) for image in images]
    cubic = float(np.mean([image.cubic_psnr for image in images]))
    return {"psnr": float(np.mean(values)), "cubic_psnr": cubic,
            "gain": float(np.mean(values)) - cubic}  # fmt: skip


def compare(network: nn.Module, image: ValidationImage) -> Comparison:
    """Return source, interpolation, result and truth of one image, to look at."""
    result = run_network(network, image)

    def plain(tensor: Tensor) -> np.ndarray:
        array: np.ndarray = tensor.numpy()[0]
        return array[0] if len(array) == 1 else array

    return Comparison(
        image.name,
        plain(image.coarse),
        plain(image.cubic),
        plain(result),
        plain(image.fine),
        colour=image.fine.shape[1] > 1,
    )
