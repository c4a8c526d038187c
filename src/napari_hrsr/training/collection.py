"""Sharp images to learn from: opened lazily, normalised when they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from napari_hrsr.errors import CancelledError, HrsrError, InputError
from napari_hrsr.training.finding import ArrayItem, Found, LeftOut, find_images
from napari_hrsr.training.levels import measure_levels
from napari_hrsr.training.opening import Series, cut_series, open_pixels
from napari_hrsr.training.training_image import TrainingImage

__all__ = [
    "ArrayItem",
    "Collection",
    "LeftOut",
    "Preprocessing",
    "TrainingImage",
    "nothing_left",
    "open_collection",
    "too_small",
]

VOLUME_PLANES = 24
"""A stack of fewer planes than this is too thin to learn from in 3D."""

_REASONS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What is done to every image before it is used.

    Attributes
    ----------
    resize : float
        Factor, above 0 and up to 1, by which images are made smaller, with antialiasing.
    crop : tuple of (int, int)
        Start and stop along each spatial axis of the images as they are used
        (of a plane of a volume: the two axes of the plane), before resizing; as in
        a slice, negative numbers count from the end. Empty for all.
    percentiles : tuple of float
        Per cent of the pixels at or below black, and at or below white.

    Raises
    ------
    InputError
        If a number makes no sense.
    """

    resize: float = 1.0
    crop: tuple[tuple[int, int], ...] = ()
    percentiles: tuple[float, float] = (0.1, 99.9)

    def __post_init__(self) -> None:
        if not 0 < self.resize <= 1:
            msg = f"resize must be above 0 and at most 1, got {self.resize}"
            raise InputError(msg)
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            msg = f"percentiles must rise and lie between 0 and 100, got {self.percentiles}"
            raise InputError(msg)


@dataclass(frozen=True, slots=True)
class Collection:
    """Images to learn from, and what was left out.

    Attributes
    ----------
    images : tuple of TrainingImage
        In the order they were given; files of a folder in the order of their names.
    left_out : tuple of LeftOut
        Everything that cannot be used, with the reason.
    """

    images: tuple[TrainingImage, ...]
    left_out: tuple[LeftOut, ...]


def open_collection(
    items: Iterable[Any],
    *,
    ndim: int,
    channels: int = 1,
    axes: str | None = None,
    minimum: int = 48,
    leave_out: Iterable[str] = (),
    preprocessing: Preprocessing | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Collection:
    """Open sharp images, and leave out what cannot be used.

    Parameters
    ----------
    items : iterable
        Paths of files (TIFF, OME-Zarr, NIfTI, PNG, JPEG, BMP, WebP) and of
        folders, which are searched; `ArrayItem`; arrays of any library.
    ndim : int
        2: planes, of volumes too (see `cut_series`); 3: volumes of at least
        `VOLUME_PLANES` planes.
    channels : int
        1: grey; colours become their luminance, and other channels images of
        their own. 3: colour images only.
    axes : str, optional
        One letter per axis, for images of so many axes.
    minimum : int
        Shortest side of an image that is used, in pixels after preprocessing.
        Along z, `VOLUME_PLANES` will do.
    leave_out : iterable of str
        Sources not to use, as names or patterns such as ``"plate1*"``.
    preprocessing : Preprocessing, optional
        Resizing, cropping and normalisation.
    progress : callable, optional
        Called with the number of files opened and in total.
    cancelled : callable, optional
        Polled between files.

    Returns
    -------
    Collection

    Raises
    ------
    InputError
        If there is nothing left to learn from, with the first reasons.
    CancelledError
        If `cancelled` returned True.
    """
    prepared = preprocessing or Preprocessing()
    check_kind(ndim, channels)
    if prepared.crop and len(prepared.crop) != ndim:
        msg = f"crop must hold a start and a stop for each of the {ndim} axes, got {prepared.crop}"
        raise InputError(msg)
    found, left_out = find_images(items)
    patterns = tuple(leave_out)
    found = [
        f for f in found if not any(f.source == p or fnmatchcase(f.source, p) for p in patterns)
    ]
    images: list[TrainingImage] = []
    for number, candidate in enumerate(found):
        if cancelled():
            msg = "cancelled while the images were opened"
            raise CancelledError(msg)
        try:
            pixels, metadata, names = open_pixels(candidate, axes)
            every = cut_series(pixels, names, ndim=ndim, channels=channels, metadata=metadata)
        except HrsrError as error:
            left_out.append(LeftOut(candidate.name, str(error)))
            continue
        for series in every:
            try:
                images += _images_of(series, candidate, channels, minimum, prepared)
            except HrsrError as error:
                left_out.append(LeftOut(candidate.name + series.label, str(error)))
        if progress is not None:
            progress(number + 1, len(found))
    if not images:
        raise nothing_left(left_out)
    return Collection(tuple(images), tuple(left_out))


def _images_of(
    series: Series, found: Found, channels: int, minimum: int, prepared: Preprocessing
) -> list[TrainingImage]:
    images = []
    for label, view in series.images:
        cropped = view.cropped(prepared.crop) if prepared.crop else view
        name = found.name + series.label + label
        # The levels come later: what is too small need not be read.
        image = TrainingImage(
            found.source, name, cropped, 0.0, 1.0, channels, resize=prepared.resize, file=found.file
        )
        reason = too_small(image.shape, minimum)
        if not reason:
            images.append(image)
    if not images:
        raise InputError(reason)
    black, white = measure_levels(series.whole, prepared.percentiles)
    return [replace(image, black=black, white=white) for image in images]


def check_kind(ndim: int, channels: int) -> None:
    """Refuse a kind of image that there is none of.

    Raises
    ------
    InputError
        With the choices.
    """
    if ndim not in (2, 3):
        msg = f"ndim must be 2 or 3, got {ndim!r}"
        raise InputError(msg)
    if channels not in (1, 3):
        msg = f"channels must be 1 (grey) or 3 (RGB), got {channels!r}"
        raise InputError(msg)


def too_small(shape: tuple[int, ...], minimum: int) -> str:
    """Say why an image of this shape is too small, or return an empty text."""
    least = (min(VOLUME_PLANES, minimum), minimum, minimum)[-len(shape) :]
    if all(n >= m for n, m in zip(shape, least, strict=True)):
        return ""
    size = " x ".join(map(str, shape))
    needed = " x ".join(map(str, least))
    return f"it is too small: {size} pixels, and at least {needed} are needed"


def nothing_left(left_out: Sequence[LeftOut], what: str = "images") -> InputError:
    """Return the error that says why there is nothing to learn from."""
    if not left_out:
        return InputError("no image was given: name files or folders of images, or arrays")
    shown = [f"  {entry.name}: {entry.reason}" for entry in left_out[:_REASONS_SHOWN]]
    more = len(left_out) - len(shown)
    if more:
        shown.append(f"  and {more} more")
    return InputError(f"none of the {what} can be used:\n" + "\n".join(shown))
