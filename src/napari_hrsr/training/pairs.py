"""Pairs of images of one field, recorded at low and at high resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from napari_hrsr.errors import CancelledError, HrsrError, InputError
from napari_hrsr.training.collection import check_kind, nothing_left, too_small
from napari_hrsr.training.finding import Found, LeftOut, find_images
from napari_hrsr.training.levels import measure_levels
from napari_hrsr.training.matching import match
from napari_hrsr.training.opening import Series, cut_series, open_pixels
from napari_hrsr.training.paired_image import PairedImage
from napari_hrsr.training.registration import (
    LARGEST_DEVIATION,
    LARGEST_SHIFT,
    SAME_FIELD,
    register,
    usable_range,
)
from napari_hrsr.training.split import split_collection
from napari_hrsr.training.training_image import TrainingImage

__all__ = ["PairCollection", "PairedImage", "open_pairs", "registered_pair", "split_pairs"]

_LARGEST_CROP = 0.25


@dataclass(frozen=True, slots=True)
class PairCollection:
    """Registered pairs, and what was left out.

    Attributes
    ----------
    images : tuple of PairedImage
        In the order of the coarse images.
    left_out : tuple of LeftOut
        Everything that cannot be used, with the reason.
    """

    images: tuple[PairedImage, ...]
    left_out: tuple[LeftOut, ...]


def open_pairs(
    coarse_items: Iterable[Any],
    fine_items: Iterable[Any],
    *,
    scale: Sequence[int],
    ndim: int,
    channels: int = 1,
    axes: str | None = None,
    minimum: int = 48,
    cancelled: Callable[[], bool] = lambda: False,
) -> PairCollection:
    """Open pairs of images of one field, register them, and leave out what does not match.

    Parameters
    ----------
    coarse_items, fine_items : iterable
        As for `open_collection`; images are matched by name or by order, see `match`.
    scale : sequence of int
        Fine pixels in a coarse one, per axis.
    ndim : int
        2: planes, of volumes some along z; 3: volumes.
    channels : int
        1 for grey, 3 for colours.
    axes : str, optional
        One letter per axis, for images of so many axes.
    minimum : int
        Shortest side of the part that both images show, in fine pixels.
    cancelled : callable, optional
        Polled between pairs.

    Returns
    -------
    PairCollection

    Raises
    ------
    InputError
        If images cannot be matched, or no pair shows the same field.
    CancelledError
        If `cancelled` returned True.
    """
    check_kind(ndim, channels)
    factor = tuple(int(k) for k in scale)
    if len(factor) != ndim or any(k < 1 for k in factor):
        msg = f"scale must hold a whole number for each of the {ndim} axes, got {tuple(scale)}"
        raise InputError(msg)
    coarse, left_out = find_images(coarse_items)
    fine, others = find_images(fine_items)
    left_out += others
    if not coarse or not fine:
        raise nothing_left(left_out)
    matched, alone = match(coarse, fine)
    left_out += alone
    images: list[PairedImage] = []
    for low, high in matched:
        if cancelled():
            msg = "cancelled while the pairs were registered"
            raise CancelledError(msg)
        try:
            both = _cut(low, high, factor, ndim, channels, axes)
        except HrsrError as error:
            left_out.append(LeftOut(f"{low.name} with {high.name}", str(error)))
            continue
        for small, large in both:
            name = f"{low.name}{small.label} with {high.name}{large.label}"
            try:
                opened = zip(
                    _images(low, small, channels), _images(high, large, channels), strict=True
                )
            except HrsrError as error:
                left_out.append(LeftOut(name, str(error)))
                continue
            for one, other in opened:
                try:
                    images.append(registered_pair(one, other, factor, minimum))
                except HrsrError as error:
                    left_out.append(LeftOut(f"{one.name} with {other.name}", str(error)))
    if not images:
        raise nothing_left(left_out, "pairs")
    return PairCollection(tuple(images), tuple(left_out))


def registered_pair(
    coarse: TrainingImage, fine: TrainingImage, scale: tuple[int, ...], minimum: int = 48
) -> PairedImage:
    """Register two images of one field.

    Parameters
    ----------
    coarse, fine : TrainingImage
        About `scale` times as large one as the other.
    scale : tuple of int
        Fine pixels in a coarse one, per axis.
    minimum : int
        Shortest side of the part that both show, in fine pixels.

    Raises
    ------
    InputError
        If they do not show the same field.
    """
    _check_shapes(coarse.shape, fine.shape, scale)
    found = register(coarse, fine, scale)
    if found.correlation < SAME_FIELD or found.gain <= 0:
        msg = (
            "they do not show the same field: even where they agree best their correlation is "
            f"{max(found.correlation, 0.0):.2f}, and images of one field reach at least "
            f"{SAME_FIELD:g}. Check that these two belong together"
        )
        raise InputError(msg)
    shift = [t / k for t, k in zip(found.shift, scale, strict=True)]
    if any(abs(s) > LARGEST_SHIFT * n for s, n in zip(shift, coarse.shape, strict=True)):
        msg = (
            f"they are shifted by {_pixels(shift, '.1f')} low-resolution pixels, more than a "
            f"quarter of {_pixels(coarse.shape)}: crop both to the part that they share"
        )
        raise InputError(msg)
    if found.deviation > LARGEST_DEVIATION:
        msg = (
            "they are rotated, stretched or bent against each other: parts of them lie "
            f"{found.deviation:.1f} low-resolution pixels apart when the whole is in place. "
            "Only shifts are corrected: register them with another tool first"
        )
        raise InputError(msg)
    usable = usable_range(coarse.shape, fine.shape, scale, found.shift)
    shared = tuple((u.stop - u.start) * k for u, k in zip(usable, scale, strict=True))
    reason = too_small(shared, minimum)
    if reason:
        msg = f"the part that both show is not enough: {reason}"
        raise InputError(msg)
    view = coarse.view.cropped([(u.start, u.stop) for u in usable])
    return PairedImage(replace(coarse, pixels=view), fine, scale, found, coarse.view.starts)


def split_pairs(
    images: Sequence[PairedImage],
    share: float = 0.1,
    seed: int = 0,
    *,
    margin: int = 16,
    minimum: int = 48,
) -> tuple[tuple[PairedImage, ...], tuple[PairedImage, ...]]:
    """Keep a part of the pairs for validation; see `split_collection`.

    Parameters
    ----------
    images : sequence of PairedImage
        All pairs.
    share : float
        About which part to keep.
    seed : int
        Of the choice.
    margin, minimum : int
        In fine pixels.

    Returns
    -------
    training, validation : tuple of PairedImage
        Without a pixel in common.

    Raises
    ------
    InputError
        If there are few pairs, and none is large enough to be divided.
    """
    return split_collection(images, share, seed, margin=margin, minimum=minimum)


def _cut(
    coarse: Found,
    fine: Found,
    scale: tuple[int, ...],
    ndim: int,
    channels: int,
    axes: str | None,
) -> list[tuple[Series, Series]]:
    """Cut both files into series that belong together."""
    cuts: list[list[Series]] = []
    described: list[str] = []
    others: list[dict[str, int]] = []
    for found in (coarse, fine):
        pixels, metadata, names = open_pixels(found, axes)
        cuts.append(
            cut_series(pixels, names, ndim=ndim, channels=channels, metadata=metadata, only_z=True)
        )
        described.append(f"axes {names} of {_pixels(pixels.shape)}")
        spatial = "ZYX"[-ndim:]
        others.append(
            {
                letter: int(n)
                for letter, n in zip(names, pixels.shape, strict=True)
                if letter not in spatial and letter != "S" and n > 1
            }
        )
    if others[0] != others[1]:
        msg = (
            "they hold different numbers of channels, time points or planes: "
            f"{described[0]}, and {described[1]}"
        )
        raise InputError(msg)
    return list(zip(*cuts, strict=True))


def _images(found: Found, series: Series, channels: int) -> list[TrainingImage]:
    black, white = measure_levels(series.whole)
    return [
        TrainingImage(
            found.source,
            found.name + series.label + label,
            view,
            black,
            white,
            channels,
            file=found.file,
        )
        for label, view in series.images
    ]


def _check_shapes(coarse: Sequence[int], fine: Sequence[int], scale: Sequence[int]) -> None:
    """Refuse images whose sizes do not differ by the factor, up to a crop."""
    wanted = [n * k for n, k in zip(coarse, scale, strict=True)]
    for n, w in zip(fine, wanted, strict=True):
        if min(n, w) < (1 - _LARGEST_CROP) * max(n, w):
            msg = (
                f"the low-resolution image has {_pixels(coarse)} pixels and the other one "
                f"{_pixels(fine)}, which is not about {_pixels(scale)} times as many: choose the "
                "factor they differ by, or check which one is which"
            )
            raise InputError(msg)


def _pixels(numbers: Sequence[float], style: str = "d") -> str:
    return " x ".join(format(n, style) for n in numbers)
