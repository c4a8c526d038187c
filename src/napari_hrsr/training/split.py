"""Which images, or which parts of them, are kept for measuring; never learned from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self, TypeVar

import numpy as np

from napari_hrsr.errors import InputError
from napari_hrsr.training.finding import SPLIT_NAMES
from napari_hrsr.training.views import View

MINIMUM_FILES = 5
"""With fewer files than this each of them is divided."""

_LARGEST_SOURCE = 0.2


class Divisible(Protocol):
    """An image that can be divided: `TrainingImage` and `PairedImage`."""

    @property
    def source(self) -> str:
        """What it came from."""

    @property
    def file(self) -> str:
        """The file it is part of."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""

    @property
    def view(self) -> View:
        """Where it lies in its file."""

    def stored_length(self, length: int) -> int:
        """Return how many pixels of the file so many fine pixels take, rounded up."""

    def restricted(self, axis: int, start: int, stop: int) -> Self | None:
        """Return the part within a range of an axis of the file."""


Image = TypeVar("Image", bound=Divisible)


def split_collection(
    images: Sequence[Image],
    share: float = 0.1,
    seed: int = 0,
    *,
    margin: int = 16,
    minimum: int = 48,
) -> tuple[tuple[Image, ...], tuple[Image, ...]]:
    """Keep a part of the images for validation.

    Whole sources are kept where there are several and some are small enough,
    so that images of one source are not on both sides; else whole files. With
    fewer than `MINIMUM_FILES` files a stripe at one end of each is kept, and a
    margin between it and the rest is not used. All channels, time points and
    planes of a file are divided at the same place. So no pixel of a file is
    ever on both sides.

    Parameters
    ----------
    images : sequence of TrainingImage or PairedImage
        All images.
    share : float
        About which part to keep, above 0 and up to 0.5.
    seed : int
        Of the choice.
    margin : int
        Pixels between both parts of a divided image (fine pixels of a pair).
    minimum : int
        Fewest pixels across a part of a divided image.

    Returns
    -------
    training, validation : tuple
        Both with at least one image, in the given order.

    Raises
    ------
    InputError
        If there is no image, or none large enough to be divided.
    """
    if not 0 < share <= 0.5:
        msg = f"the share kept for validation must be above 0 and at most 0.5, got {share}"
        raise InputError(msg)
    rng = np.random.default_rng(seed)
    files = list(dict.fromkeys(image.file for image in images))
    if len(files) < MINIMUM_FILES:
        return _divided(images, share, rng, margin, minimum)
    kept = _kept_sources(images, share, rng)
    if not kept:
        count = max(1, round(share * len(files)))
        chosen = {files[i] for i in rng.permutation(len(files))[:count]}
        kept = {i for i, image in enumerate(images) if image.file in chosen}
    training = tuple(image for i, image in enumerate(images) if i not in kept)
    return training, tuple(images[i] for i in sorted(kept))


def _kept_sources(images: Sequence[Divisible], share: float, rng: np.random.Generator) -> set[int]:
    """Positions of the images of the sources that are kept, none if all are too large."""
    by_source: dict[str, list[int]] = defaultdict(list)
    for position, image in enumerate(images):
        by_source[image.source].append(position)
    wanted = share * len(images)
    limit = max(2 * share, _LARGEST_SOURCE) * len(images)
    kept: set[int] = set()
    for i in rng.permutation(len(by_source)):
        positions = list(by_source.values())[i]
        fits = len(positions) <= limit if not kept else len(kept) + len(positions) <= 1.5 * wanted
        if fits and len(kept) < wanted:
            kept.update(positions)
    return kept


def _divided(
    images: Sequence[Image], share: float, rng: np.random.Generator, margin: int, minimum: int
) -> tuple[tuple[Image, ...], tuple[Image, ...]]:
    by_file: dict[str, list[Image]] = defaultdict(list)
    for image in images:
        by_file[image.file].append(image)
    training: list[Image] = []
    validation: list[Image] = []
    for group in by_file.values():
        at_end = bool(rng.random() < 0.5)
        kept, rest = _divide(group, share, at_end, margin, minimum)
        training += rest
        validation += kept
    if not training or not validation:
        msg = (
            f"too little to keep a part for validation: {len(images)} images, none of which has "
            f"the {2 * minimum + margin} pixels along an axis that a division takes. "
            f"Give larger images, at least {MINIMUM_FILES} files, or images for validation"
        )
        raise InputError(msg)
    return tuple(training), tuple(validation)


def _divide(
    group: Sequence[Image], share: float, at_end: bool, margin: int, minimum: int
) -> tuple[list[Image], list[Image]]:
    """Divide the images of one file along the longest axis on which both parts are large enough."""
    spans = [_span([image.view for image in group], a) for a in range(len(group[0].view.key))]
    axes = sorted({a for image in group for a in image.view.spatial})
    for axis in sorted(axes, key=lambda a: spans[a][0] - spans[a][1]):
        first, last = spans[axis]
        least = max(image.stored_length(minimum) for image in group)
        gap = max(image.stored_length(margin) for image in group)
        across = max(least, round(share * (last - first)))
        if last - first < across + gap + least:
            continue
        if at_end:
            kept_range, rest_range = (last - across, last), (first, last - across - gap)
        else:
            kept_range, rest_range = (first, first + across), (first + across + gap, last)
        kept = _restricted(group, axis, kept_range, minimum)
        rest = _restricted(group, axis, rest_range, minimum)
        if kept and rest:
            return kept, rest
    return [], list(group)


def _span(views: Sequence[View], axis: int) -> tuple[int, int]:
    """First index of an axis that any of the views uses, and one past the last."""
    ends = [(k.start, k.stop) if isinstance(k, slice) else (k, k + 1) for k in
            (view.key[axis] for view in views)]  # fmt: skip
    return min(e[0] for e in ends), max(e[1] for e in ends)


def _restricted(
    group: Sequence[Image], axis: int, part: tuple[int, int], minimum: int
) -> list[Image]:
    parts = [image.restricted(axis, *part) for image in group]
    return [
        p
        for p, whole in zip(parts, group, strict=True)
        if p is not None and _large_enough(p, whole, minimum)
    ]


def _large_enough(part: Divisible, whole: Divisible, minimum: int) -> bool:
    """Tell whether no axis is too short, unless it was so before."""
    least = whole.stored_length(minimum)
    return all(
        n >= min(least, m) for n, m in zip(_spatial_shape(part), _spatial_shape(whole), strict=True)
    )


def _spatial_shape(image: Divisible) -> tuple[int, ...]:
    view = image.view
    return view.shape[len(view.shape) - len(view.spatial) :]


def find_split_folders(root: str | Path) -> tuple[Path, Path] | None:
    """Return the folders that a data set keeps its two parts in.

    Parameters
    ----------
    root : str or Path
        Folder that may hold ``train`` (or ``training``) and ``val``
        (``valid``, ``validation``, ``test``), each with images or class folders.

    Returns
    -------
    (Path, Path) or None
        Training and validation, or None if one of them is missing.
    """
    root = Path(root)
    if not root.is_dir():
        return None
    folders = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}
    picked = [
        next((folders[name] for name in names if name in folders), None)
        for names in SPLIT_NAMES.values()
    ]
    training, validation = picked
    return None if training is None or validation is None else (training, validation)
