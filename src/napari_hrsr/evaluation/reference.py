"""A result beside its reference: how different, and how much better than cubic interpolation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation.baseline import cubic_baseline
from napari_hrsr.evaluation.images import (
    Image,
    check_factor,
    check_image,
    check_same_shape,
    plain,
)
from napari_hrsr.evaluation.scores import BANDS, Scores, measure
from napari_hrsr.evaluation.tables import table


@dataclass(frozen=True, slots=True)
class ReferenceComparison:
    """A result and the cubic interpolation of its source, both beside the reference.

    Attributes
    ----------
    result : Scores
        Of the result.
    cubic : Scores or None
        Of the interpolated source, where a source was given.
    low, span : float
        Black, and the range of intensities that PSNR, SSIM, MS-SSIM, HaarPSI
        and GMSD refer to.
    range_name : str
        Where that range is from, for people.
    border : int
        Pixels that were left out along every edge.
    matched : bool
        Whether gain and offset were fitted first.
    sliced : bool
        Whether measures for planes are means over slices: of up to 32.
    """

    result: Scores
    cubic: Scores | None
    low: float
    span: float
    range_name: str
    border: int
    matched: bool
    sliced: bool

    def __str__(self) -> str:
        return f"{table(self.rows())}\nrange {self.span:g}: {self.range_name}"

    def rows(self) -> list[list[str]]:
        """Return a heading, and a row of cells for each measure."""
        columns = {"result": self.result} | ({"cubic": self.cubic} if self.cubic else {})
        slices = " (mean of slices)" if self.sliced else ""
        rows = [["", *columns]]
        for label, name, places in (
            ("PSNR, dB", "psnr", 2), ("SSIM", "ssim", 4), (f"MS-SSIM{slices}", "ms_ssim", 4),
            (f"HaarPSI{slices}", "haarpsi", 4), (f"GMSD{slices}, 0 is best", "gmsd", 4),
            ("NRMSE", "nrmse", 4), ("mean absolute error", "mae", 4), ("Pearson", "pearson", 4),
        ):  # fmt: skip
            rows.append([label, *(f"{getattr(s, name):.{places}f}" for s in columns.values())])
        for i, (low, high) in enumerate(itertools.pairwise(BANDS)):
            values = (f"{s.power[i]:.3f}" for s in columns.values())
            rows.append([f"power, {low:g}-{high:g} Nyquist, 1 is right", *values])
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in values that JSON can hold."""
        written: dict[str, Any] = plain(asdict(self) | {"bands": BANDS})
        return written


def compare_with_reference(
    result: Any,
    reference: Any,
    *,
    source: Any = None,
    factor: float | Sequence[float] | None = None,
    data_range: float | Literal["reference", "dtype"] = "reference",
    match: bool = False,
    border: int = 0,
    rgb: bool = False,
    check: Callable[[], None] = lambda: None,
) -> ReferenceComparison:
    """Measure how close a result is to a reference on the same grid.

    Parameters
    ----------
    result, reference : array-like
        Shape (Y, X) or (Z, Y, X), the same; with `rgb` a last axis of colours,
        of which the luminance is compared.
    source : array-like, optional
        What the result was made of: its cubic interpolation is then measured too.
    factor : float or sequence of float, optional
        Of the upscaling, per axis; read off the shapes if left out.
    data_range : float or str
        What PSNR and the like call the range: a number; ``"reference"``, the
        reference's largest value less its smallest; or ``"dtype"``, what the
        reference's integer type can hold.
    match : bool
        Fit a gain and an offset to the reference by least squares first, as is
        fair for images of different exposures. The cubic one gets its own.
    border : int
        Pixels to leave out along every edge, from 0 up.
    rgb : bool
        Whether the last axis holds colours.
    check : callable
        Called between measures; may raise to stop.

    Returns
    -------
    ReferenceComparison

    Raises
    ------
    InputError
        If the images cannot be compared, with the remedy.
    """
    wanted = check_image(reference, "reference", rgb=rgb)
    images = {"result": check_image(result, "result", rgb=rgb)}
    check_same_shape(images["result"], wanted, "reference")
    if source is not None:
        coarse = check_image(source, "source", rgb=rgb)
        factors = check_factor(wanted.shape, coarse.shape, factor)
        images["cubic"] = cubic_baseline(coarse, factors, wanted.shape)
    wanted = _cropped(wanted, border)
    if wanted.min() == wanted.max():
        msg = f"without a border of {border} pixels the reference is constant: choose a smaller one"
        raise InputError(msg)
    limits = float(wanted.min()), float(wanted.max())
    low, span, name = intensity_range(limits, np.asarray(reference).dtype, data_range)
    scores = {}
    for key, image in images.items():
        check()
        cropped = _cropped(image, border)
        gain, offset = _fitted(cropped, wanted) if match else (1.0, 0.0)
        scores[key] = measure(gain * cropped + offset, wanted, low, span, (gain, offset), check)
    return ReferenceComparison(
        scores["result"], scores.get("cubic"), low, span, name, border, match, wanted.ndim == 3
    )


def _fitted(image: Image, wanted: Image) -> tuple[float, float]:
    centred = image - image.mean()
    energy = float((centred**2).sum())
    gain = float((centred * (wanted - wanted.mean())).sum()) / energy if energy > 0 else 0.0
    return gain, float(wanted.mean() - gain * image.mean())


def _cropped(image: Image, border: int) -> Image:
    if border < 0 or 2 * border >= min(image.shape):
        msg = (
            f"a border of {border} pixels leaves nothing of shape {image.shape}: choose a smaller"
            " one, from 0 up"
        )
        raise InputError(msg)
    return image[tuple(slice(border, n - border) for n in image.shape)]


def intensity_range(
    limits: tuple[float, float],
    dtype: np.dtype[Any],
    wish: float | Literal["reference", "dtype"],
) -> tuple[float, float, str]:
    """Settle what PSNR and the like call the range of intensities.

    Parameters
    ----------
    limits : tuple of float
        Smallest and largest value of the reference.
    dtype : numpy.dtype
        Of the reference.
    wish : float or str
        ``data_range`` of `compare_with_reference`.

    Returns
    -------
    low, span : float
        Black, and the range.
    name : str
        Where it is from, for people.

    Raises
    ------
    InputError
        If the wish makes no sense.
    """
    low, high = limits
    if wish == "reference":
        return low, high - low, f"the reference's, {low:g} to {high:g}"
    if wish == "dtype":
        if dtype.kind not in "ui":
            msg = f"the reference is {dtype}, whose range says nothing: give data_range as a number"
            raise InputError(msg)
        held = np.iinfo(dtype)
        return float(held.min), float(held.max) - float(held.min), f"that of {dtype}"
    if isinstance(wish, str) or not (math.isfinite(wish) and wish > 0):
        msg = f'data_range must be a number above 0, "reference" or "dtype", got {wish!r}'
        raise InputError(msg)
    return low, float(wish), "as given"
