"""The loop that trains a network, deterministic for a seed and a number of steps."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from napari_hrsr.training.degrade import degrade, draw_degradation
from napari_hrsr.training.images import Image, binned
from napari_hrsr.training.patches import Pair, draw_batch, make_pair

_LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained.

    Attributes
    ----------
    iterations : int
        Steps of the optimiser.
    batch, size : int
        Patches in a step, and their side in coarse pixels.
    transpose_axes : tuple of int
        Axes that may be exchanged; see `draw_batch`.
    learning_rate : float
        Of AdamW at its highest: linear warm-up, then half a cosine to zero.
    warm_up : int
        Steps until the rate is at its highest.
    average : float
        Decay of the exponential moving average of the weights, which is the result.
    clip : float
        Largest norm of the gradient.
    noisy_fraction : float
        Fraction of the pairs with added noise.
    pairs : int
        Pairs held in memory.
    refresh : int
        Steps after which one pair is replaced by a new one.
    largest : int
        Longest side of the fine part of a pair, in pixels.
    """

    iterations: int
    batch: int = 5
    size: int = 32
    transpose_axes: tuple[int, ...] = ()
    learning_rate: float = 2e-3
    warm_up: int = 100
    average: float = 0.998
    clip: float = 1.0
    noisy_fraction: float = 0.4
    pairs: int = 160
    refresh: int = 8
    largest: int = 448


class PairMaker:
    """Draws images, binned or as they are, and degrades them anew each time.

    A source is drawn with a chance that grows as the square root of its number
    of images, so that no large collection drowns the others.

    Parameters
    ----------
    images : sequence of Image
        Fine images of one dimensionality.
    scale : tuple of int
        Factor per spatial axis.
    recipe : Recipe
        Fraction of noise and size of a pair.
    rng : numpy.random.Generator
        Source of randomness.
    """

    def __init__(
        self,
        images: Sequence[Image],
        scale: tuple[int, ...],
        recipe: Recipe,
        rng: np.random.Generator,
    ) -> None:
        self._scale, self._recipe, self._rng = scale, recipe, rng
        by_source: dict[str, list[list[np.ndarray]]] = defaultdict(list)
        for image in images:
            versions = [image.pixels]
            # A binned image that is too small would hold hardly a patch.
            if min(image.pixels.shape) // 2 >= 3 * recipe.size:
                versions.append(binned(image).pixels)
            by_source[image.source].append(versions)
        self._sources = list(by_source.values())
        weights = np.sqrt([len(group) for group in self._sources])
        self._chances = weights / weights.sum()

    def __call__(self) -> Pair:
        """Make one pair."""
        rng = self._rng
        group = self._sources[int(rng.choice(len(self._sources), p=self._chances))]
        versions = group[int(rng.integers(len(group)))]
        image = versions[int(rng.integers(len(versions)))]
        window = []
        for length, factor in zip(image.shape, self._scale, strict=True):
            taken = min(length, self._recipe.largest) // factor * factor
            start = int(rng.integers(length - taken + 1))
            window.append(slice(start, start + taken))
        fine = image[tuple(window)]
        degradation = draw_degradation(rng, self._scale, self._recipe.noisy_fraction)
        return make_pair(degrade(fine, degradation, rng), fine)


def charbonnier(result: Tensor, truth: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Return the mean of ``sqrt(difference ** 2 + epsilon ** 2)``.

    Parameters
    ----------
    result, truth : Tensor
        Same shape.
    epsilon : float
        Below about this difference the loss is quadratic.

    Returns
    -------
    Tensor
        Scalar.
    """
    return torch.sqrt((result - truth).square() + epsilon**2).mean()


def train(
    network: nn.Module,
    make: Callable[[], Pair],
    recipe: Recipe,
    rng: np.random.Generator,
    report: Callable[[int, float], None] | None = None,
) -> nn.Module:
    """Train a network on freshly degraded pairs.

    Parameters
    ----------
    network : Module
        Called as ``network(batch, noise)``; trained in place.
    make : callable
        Returns a new pair, for example a `PairMaker`.
    recipe : Recipe
        How.
    rng : numpy.random.Generator
        Source of the patches.
    report : callable, optional
        Called with step and mean loss every 200 steps.

    Returns
    -------
    Module
        The moving average of the network, in evaluation mode.
    """
    # A quarter to a third faster than contiguous, in 2D and in 3D.
    layout = _LAYOUTS[next(p.ndim for p in network.parameters() if p.ndim > 1) - 2]
    network.to(memory_format=layout)  # type: ignore[call-overload]
    averaged = copy.deepcopy(network).eval().requires_grad_(False)
    parameters = list(network.parameters())
    shadow: list[Tensor] = list(averaged.parameters())
    optimiser = torch.optim.AdamW(parameters, recipe.learning_rate, (0.9, 0.99), weight_decay=0.0)
    pairs = [make() for _ in range(recipe.pairs)]
    total = 0.0
    for step in range(recipe.iterations):
        if step % recipe.refresh == recipe.refresh - 1:
            pairs[step // recipe.refresh % len(pairs)] = make()
        optimiser.param_groups[0]["lr"] = recipe.learning_rate * _schedule(step, recipe)
        patches = draw_batch(
            pairs,
            rng,
            size=recipe.size,
            batch=recipe.batch,
            transpose_axes=recipe.transpose_axes,
        )
        coarse = patches.coarse.contiguous(memory_format=layout)
        loss = charbonnier(network(coarse, patches.noise), patches.fine)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, recipe.clip)
        optimiser.step()
        # Early on the average must forget the untrained weights faster.
        decay = min(recipe.average, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(shadow, [p.detach() for p in parameters], 1 - decay)
        total += float(loss.detach())
        if report is not None and step % 200 == 199:
            report(step + 1, total / 200)
            total = 0.0
    return averaged


def _schedule(step: int, recipe: Recipe) -> float:
    if step < recipe.warm_up:
        return (step + 1) / recipe.warm_up
    done = (step - recipe.warm_up) / max(1, recipe.iterations - recipe.warm_up)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
