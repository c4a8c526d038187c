"""Degrade a part of an image as a training does, to look at; without a window."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrsr._napari.training_images import LayerImage
from napari_hrsr.errors import HrsrError, InputError

if TYPE_CHECKING:
    from napari_hrsr.training.views import View

logger = logging.getLogger(__name__)

_SIDES = {2: 256, 3: 64}


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What to degrade, and how.

    Attributes
    ----------
    item : LayerImage or tuple of Path
        A layer; or files and folders, of which the first usable one is taken.
    scale : tuple of int
        Factor per spatial axis.
    channels : int
        1, or 3 for colours.
    settings : Mapping
        Of `Degradations`.
    seed : int
        Another one draws another degradation.
    centre : tuple of float
        Of the part of a layer, in its pixels.
    """

    item: LayerImage | tuple[Path, ...]
    scale: tuple[int, ...]
    channels: int
    settings: Mapping[str, Any]
    seed: int
    centre: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A part of an image, and what an instrument that was drawn at random makes of it.

    Attributes
    ----------
    sharp, coarse : ndarray
        One axis per axis of the image, of length 1 where it is not spatial;
        colours last. Black at 0 and white at 1.
    start : tuple of int
        First pixel of `sharp` per axis of the image.
    factor : tuple of int
        Sharp pixels in a coarse one per axis of the image.
    text : str
        What was drawn, for people.
    """

    sharp: np.ndarray
    coarse: np.ndarray
    start: tuple[int, ...]
    factor: tuple[int, ...]
    text: str


def drawn(sample: Sample) -> Iterator[Drawn | str]:
    """Yield one result or one reason; never raise (see `run`)."""
    try:
        yield draw_sample(sample)
    except GeneratorExit:
        raise
    except HrsrError as error:
        yield str(error)
    except Exception as error:
        logger.exception("the degradation could not be shown")
        yield f"Unexpected {type(error).__name__}: {error}"


def draw_sample(sample: Sample) -> Drawn:
    """Degrade a part of an image exactly as the training does.

    Parameters
    ----------
    sample : Sample
        What, and how.

    Returns
    -------
    Drawn

    Raises
    ------
    HrsrError
        If the image cannot be used, or a setting makes no sense.
    """
    from napari_hrsr.training.config_file import config_from_dict
    from napari_hrsr.training.degrade import degrade
    from napari_hrsr.training.training_image import TrainingImage

    values = {"scale": list(sample.scale), "degradation": dict(sample.settings)}
    degradations = config_from_dict(values).degradation
    ndim = len(sample.scale)
    view, black, white = _open(sample, ndim)
    shape = view.shape[len(view.shape) - ndim :]
    centre = [n / 2 for n in shape]
    if sample.centre:
        centre = [sample.centre[axis] for axis in view.spatial]
    window = []
    for length, middle, k in zip(shape, centre, sample.scale, strict=True):
        side = min(_SIDES[ndim], length) // k * k
        if side < 2 * k:
            msg = f"the image is too small for a factor of {k}: {length} pixels along an axis"
            raise InputError(msg)
        start = min(max(0, round(middle) - side // 2), length - side)
        window.append(slice(start, start + side))
    image = TrainingImage("preview", "preview", view, black, white, sample.channels)
    sharp = image.read(window)
    rng = np.random.default_rng(sample.seed)
    degradation = degradations.draw(rng, sample.scale)
    coarse = degrade(sharp, degradation, rng)
    kept = len(view.key) - (view.samples is not None)
    start, factor = [0] * kept, [1] * kept
    axes = [a for a in range(len(view.key)) if a != view.samples]
    for place, axis in enumerate(axes):
        own = view.key[axis]
        if isinstance(own, slice):
            number = view.spatial.index(axis)
            start[place] = own.start + window[number].start
            factor[place] = sample.scale[number]
        else:
            start[place] = own
    looped = tuple(p for p, axis in enumerate(axes) if not isinstance(view.key[axis], slice))
    return Drawn(
        _spread(sharp, looped, ndim),
        _spread(coarse, looped, ndim),
        tuple(start),
        tuple(factor),
        describe(degradation),
    )


def _open(sample: Sample, ndim: int) -> tuple[View, float, float]:
    """Return what is to be degraded with its black and white level."""
    from napari_hrsr.axes import resolve_axes
    from napari_hrsr.training.collection import open_collection
    from napari_hrsr.training.finding import find_images
    from napari_hrsr.training.levels import measure_levels
    from napari_hrsr.training.views import View

    if not isinstance(sample.item, LayerImage):
        found, left_out = find_images(sample.item)
        reason = left_out[0].reason if left_out else "there is none"
        for candidate in found:
            try:
                collection = open_collection(
                    [candidate.content], ndim=ndim, channels=sample.channels
                )
            except InputError as error:
                reason = str(error)
                continue
            image = collection.images[0]
            return image.view, image.black, image.white
        msg = f"no image can be shown: {reason}"
        raise InputError(msg)
    array, names = sample.item.source, sample.item.metadata.axes
    if ndim == 3 and "Z" not in names:
        msg = f"layer {sample.item.name!r} has no third axis: choose a factor in 2D"
        raise InputError(msg)
    axes = resolve_axes(names, ndim)
    if sample.channels == 3 and axes.samples is None:
        msg = f"layer {sample.item.name!r} holds no colours: it is no RGB image"
        raise InputError(msg)
    key: list[int | slice] = []
    for axis, length in enumerate(array.shape):
        if axis in axes.looped:
            key.append(min(max(0, round(sample.centre[axis])), length - 1))
        else:
            key.append(slice(0, min(3, length) if axis == axes.samples else length))
    view = View(array, tuple(key), axes.samples, grey=sample.channels == 1)
    return view, *measure_levels(view)


def _spread(image: np.ndarray, looped: tuple[int, ...], ndim: int) -> np.ndarray:
    """Return an image with an axis of length 1 where one is looped over, and colours last."""
    if image.ndim > ndim:
        image = np.moveaxis(image, 0, -1)
    return np.expand_dims(image, looped)


def describe(degradation: Any) -> str:
    """Say what was drawn, in a line or two for people."""
    instrument = degradation.instrument
    parts = []
    sampling = {
        "area": "mean over pixel areas",
        "bicubic": "antialiased bicubic sampling",
        "point": "every so many pixels",
        "k-space": "truncated k-space",
    }
    if any(instrument.psf_sigma):
        sigma = ", ".join(f"{s:.2f}" for s in sorted(set(instrument.psf_sigma)))
        parts.append(f"Gaussian blur {sigma} pixels")
    elif instrument.point_spread is not None:
        parts.append("point spread function")
    parts.append(sampling.get(instrument.sampling, instrument.sampling))
    if instrument.slice_fwhm:
        parts.append(f"{instrument.slice_profile} slices {instrument.slice_fwhm:.1f} pixels thick")
    if np.isfinite(degradation.photons):
        parts.append(f"{degradation.photons:.0f} photons at white")
    if degradation.read_noise:
        parts.append(f"{degradation.noise} noise {degradation.read_noise:.3f}")
    if not degradation.noisy:
        parts.append("no noise")
    return ", ".join(parts)
