"""The batch of every step, a pure function of the seed and the step.

A run that is resumed therefore sees exactly what it would have seen without
the break, whoever prepares the batches and however many of them there are.

    pair number:  0 1 2 3 ... 15 | 16 | 17 | 18 ...
    step 0           alive       |
    step `refresh`      alive         |           one more; the oldest of more than
    2 * `refresh`          alive           |      `config.pairs` is forgotten
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch.distributed
from scipy.ndimage import gaussian_filter
from torch.utils.data import Dataset, Sampler

from napari_hrsr.training.collection import TrainingImage
from napari_hrsr.training.config import TrainingConfig
from napari_hrsr.training.degrade import degrade
from napari_hrsr.training.pairs import PairedImage
from napari_hrsr.training.patches import Batch, Pair, draw_batch, make_pair
from napari_hrsr.training.point_spread_choice import allowed_turns
from napari_hrsr.training.staining import stained

FIRST_PAIRS = 24
"""Pairs alive at the first step."""

_BLUR = (0.8, 2.5)
"""Least and largest standard deviation of the blur of a truth that is made softer, in pixels."""

_PAIR, _BATCH, _VALIDATION, _UNPAIRED = range(4)

MakePair = Callable[[np.random.Generator], Pair]


@dataclass(frozen=True)
class DegradedPairs:
    """Draws an image, binned or as it is, and degrades a window of it.

    A source is drawn with a chance that grows as the square root of its number
    of images, so that no large collection drowns the others.

    Attributes
    ----------
    images : sequence of TrainingImage
        Sharp images of one dimensionality.
    config : TrainingConfig
        Factor, window and degradation.
    """

    images: Sequence[TrainingImage]
    config: TrainingConfig
    _groups: list[list[list[TrainingImage]]] = field(init=False, repr=False)
    _chances: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        groups: dict[str, list[list[TrainingImage]]] = defaultdict(list)
        for image in self.images:
            versions = [image]
            # A binned image that is too small would hold hardly a patch.
            if self.config.data.binned and min(image.shape) // 2 >= 3 * self.config.patch:
                versions.append(image.binned())
            groups[image.source].append(versions)
        weights = np.sqrt([len(group) for group in groups.values()])
        object.__setattr__(self, "_groups", list(groups.values()))
        object.__setattr__(self, "_chances", weights / weights.sum())

    def __call__(self, rng: np.random.Generator) -> Pair:
        """Make one pair."""
        group = self._groups[int(rng.choice(len(self._groups), p=self._chances))]
        versions = group[int(rng.integers(len(group)))]
        image = versions[int(rng.integers(len(versions)))]
        window = _window(image.shape, self.config.scale, self.config.largest, rng)
        share = self.config.data.blurred
        sigma = float(rng.uniform(*_BLUR)) if share and rng.random() < share else 0.0
        return degraded_pair(image, window, self.config, rng, sigma)


@dataclass(frozen=True)
class RegisteredPairs:
    """Draws a window of a measured pair.

    Attributes
    ----------
    images : sequence of PairedImage
        Registered pairs.
    config : TrainingConfig
        Factor and window.
    """

    images: Sequence[PairedImage]
    config: TrainingConfig

    def __call__(self, rng: np.random.Generator) -> Pair:
        """Make one pair."""
        image = self.images[int(rng.integers(len(self.images)))]
        largest = max(1, self.config.largest // max(self.config.scale))
        window = _window(image.shape, (1,) * self.config.ndim, largest, rng)
        coarse, fine = image.read_pair(window)
        return make_pair(coarse, fine, ndim=self.config.ndim)


@dataclass(frozen=True)
class UnpairedWindows:
    """Draws a window of a low-resolution image that no sharp one belongs to.

    Attributes
    ----------
    images : sequence of TrainingImage
        Low-resolution images.
    config : TrainingConfig
        Factor and window.
    """

    images: Sequence[TrainingImage]
    config: TrainingConfig

    def __call__(self, rng: np.random.Generator) -> Pair:
        """Make a pair whose fine side is the coarse image itself."""
        image = self.images[int(rng.integers(len(self.images)))]
        largest = max(1, self.config.largest // max(self.config.scale))
        coarse = image.read(_window(image.shape, (1,) * self.config.ndim, largest, rng))
        return make_pair(coarse, coarse, ndim=self.config.ndim)


def degraded_pair(
    image: TrainingImage,
    window: tuple[slice, ...],
    config: TrainingConfig,
    rng: np.random.Generator,
    blur: float = 0.0,
) -> Pair:
    """Read a window of a sharp image and record it with an instrument drawn at random.

    Parameters
    ----------
    image : TrainingImage
        Sharp.
    window : tuple of slice
        Whose lengths are multiples of the factor.
    config : TrainingConfig
        Factor and degradation.
    rng : numpy.random.Generator
        Source of randomness.
    blur : float
        Standard deviation of a Gaussian, in pixels, that makes the truth itself softer.
    """
    fine = image.read(window)
    if blur:
        fine = gaussian_filter(fine, blur, mode="nearest", axes=range(-config.ndim, 0))
    if image.channels < config.channels:
        fine = stained(fine, rng)
    degradation = config.degradation.draw(rng, config.scale)
    coarse = degrade(fine, degradation, rng)
    return make_pair(coarse, fine, ndim=config.ndim, instrument=degradation.instrument)


def _window(
    shape: tuple[int, ...], factor: tuple[int, ...], largest: int, rng: np.random.Generator
) -> tuple[slice, ...]:
    window = []
    for length, k in zip(shape, factor, strict=True):
        taken = min(length, largest) // k * k
        start = int(rng.integers(length - taken + 1))
        window.append(slice(start, start + taken))
    return tuple(window)


class StepBatches(Dataset[dict[str, Any]]):
    """The batch of each step, by its number.

    Parameters
    ----------
    make_pair : callable
        Makes a pair from a source of randomness: `DegradedPairs` or `RegisteredPairs`.
    config : TrainingConfig
        Seed, steps, patches.
    unpaired : callable, optional
        Makes pairs of coarse images of other fields, whose fine side is not used.
    """

    def __init__(
        self, make_pair: MakePair, config: TrainingConfig, unpaired: MakePair | None = None
    ) -> None:
        self._make, self._unpaired, self._config = make_pair, unpaired, config
        self._flipped, self._exchanged = allowed_turns(config)
        self._alive: dict[int, Pair] = {}
        self._others: dict[int, Pair] = {}

    def __len__(self) -> int:
        return self._config.steps * world()[1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Make the batch of a step; `index` is ``step * processes + rank``."""
        step = index // world()[1]
        batch = self._draw(_BATCH, index, self._pairs(self._alive, self._make, _PAIR, step))
        items: dict[str, Any] = {
            "coarse": batch.coarse,
            "fine": batch.fine,
            "noise": batch.noise,
            "instruments": batch.instruments,
        }
        if self._unpaired is not None:
            pairs = self._pairs(self._others, self._unpaired, _UNPAIRED, step)
            other = self._draw(_UNPAIRED, index, pairs)
            items |= {"unpaired": other.coarse, "unpaired_noise": other.noise}
        return items

    def _draw(self, kind: int, index: int, pairs: list[Pair]) -> Batch:
        config = self._config
        return draw_batch(
            pairs,
            np.random.default_rng((config.seed, _BATCH, kind, index)),
            size=config.patch,
            batch=config.batch,
            transpose_axes=self._exchanged,
            flip_axes=self._flipped,
        )

    def _pairs(self, alive: dict[int, Pair], make: MakePair, kind: int, step: int) -> list[Pair]:
        first, stop = alive_pairs(step, self._config.refresh, self._config.pairs)
        for number in [n for n in alive if not first <= n < stop]:
            del alive[number]
        for number in range(first, stop):
            if number not in alive:
                rng = np.random.default_rng((self._config.seed, _PAIR, kind, number))
                alive[number] = make(rng)
        return [alive[number] for number in range(first, stop)]


def alive_pairs(step: int, refresh: int, pairs: int) -> tuple[int, int]:
    """Return the first and one past the last number of the pairs that a step draws from."""
    stop = min(FIRST_PAIRS, pairs) + step // refresh
    return max(0, stop - pairs), stop


class StepSampler(Sampler[int]):
    """The steps of one epoch after the other; an epoch is what lies between checkpoints.

    Parameters
    ----------
    steps : int
        In total.
    epoch_steps : int
        In an epoch; the last one may be shorter.
    done : callable
        Returns the steps done so far. Asked at the start of every epoch: where
        a run is resumed, it is the only one that knows.
    """

    def __init__(self, steps: int, epoch_steps: int, done: Callable[[], int]) -> None:
        self._steps, self._epoch_steps, self._done = steps, epoch_steps, done

    def __len__(self) -> int:
        return max(0, min(self._epoch_steps, self._steps - self._done()))

    def __iter__(self) -> Iterator[int]:
        rank, processes = world()
        start = self._done()
        return iter([(start + i) * processes + rank for i in range(len(self))])


def world() -> tuple[int, int]:
    """Return the number of this process and how many train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def validation_rng(config: TrainingConfig, number: int) -> np.random.Generator:
    """Return the randomness with which a validation image is degraded."""
    return np.random.default_rng((config.seed, _VALIDATION, number))
