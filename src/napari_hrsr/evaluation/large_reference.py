"""Large results beside their reference, tile by tile."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from skimage.metrics import structural_similarity

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation.baseline import cubic_baseline
from napari_hrsr.evaluation.images import Image
from napari_hrsr.evaluation.large_images import Box, LargeImage, boxes, counted, grown
from napari_hrsr.evaluation.moments import Moments
from napari_hrsr.evaluation.reference import ReferenceComparison, intensity_range
from napari_hrsr.evaluation.scores import SSIM_WINDOW, Scores

if TYPE_CHECKING:
    from napari_hrsr.evaluation.evaluating import Report, Wishes

_CUBIC_REACH = 3
"""Pixels of a source beyond a box that cubic interpolation of the box reads, at most."""

_HALF = SSIM_WINDOW // 2

Read = Callable[[Box], Image]


def comparison_of(
    fine: LargeImage,
    truth: LargeImage,
    coarse: LargeImage | None,
    factor: tuple[float, ...] | None,
    wishes: Wishes,
    part: ReferenceComparison,
    report: Report,
    check: Callable[[], None],
) -> ReferenceComparison:
    """Compare a large result with its reference; as `compare_with_reference`.

    Parameters
    ----------
    fine, truth : LargeImage
        Result and reference, scanned.
    coarse : LargeImage or None
        The source: its cubic interpolation is compared too, at whole factors.
    factor : tuple of float or None
        Pixels of the result in one of the source, per axis.
    wishes : Wishes
        What was said of the images.
    part : ReferenceComparison
        The same of a part, for the figures that are not sums over pixels.
    report, check : callable
        As for `evaluate_large`.
    """
    border = wishes.border
    if border < 0 or 2 * border >= min(fine.shape):
        msg = (
            f"a border of {border} pixels leaves nothing of shape {fine.shape}: choose a smaller"
            " one, from 0 up"
        )
        raise InputError(msg)
    frame = tuple(slice(border, n - border) for n in fine.shape)
    readers: dict[str, Read] = {"result": fine.read}
    if coarse is not None and factor is not None and all(f == round(f) for f in factor):
        readers["cubic"] = _cubic(coarse, tuple(round(f) for f in factor))
    tiles = _shifted(boxes([s.stop - s.start for s in frame]), border)
    moments = {name: Moments() for name in readers}
    low, high = math.inf, -math.inf
    for box in counted(tiles, "Comparing with the reference", report, check):
        wanted = truth.read(box)
        low, high = min(low, float(wanted.min())), max(high, float(wanted.max()))
        for name, read in readers.items():
            moments[name].add(read(box), wanted)
    if low == high:
        msg = f"without a border of {border} pixels the reference is constant: choose a smaller one"
        raise InputError(msg)
    black, span, said = intensity_range((low, high), truth.array.dtype, wishes.data_range)
    fits = {n: m.fit() if wishes.match else (1.0, 0.0) for n, m in moments.items()}
    sums = _Sums(frame, truth, span)
    for box in counted(tiles, "Measuring similarity", report, check):
        for name, read in readers.items():
            sums.add(name, box, read, fits[name])
    scores = {
        name: sums.scores(name, moments[name], fits[name], base)
        for name, base in (("result", part.result), ("cubic", part.cubic))
        if name in readers and base is not None
    }
    return replace(
        part, result=scores["result"], cubic=scores.get("cubic"), low=black, span=span,
        range_name=said, border=border,
    )  # fmt: skip


class _Sums:
    """Sums over pixels that the measures are made of."""

    def __init__(self, frame: Box, truth: LargeImage, span: float) -> None:
        self._frame, self._truth, self._span = frame, truth, span
        # Cubes, or squares where there are too few slices for them.
        sides = [s.stop - s.start for s in frame]
        self._flat = len(sides) == 3 and sides[0] < SSIM_WINDOW
        measured = sides[1:] if self._flat else sides
        self._measurable = min(measured) >= SSIM_WINDOW
        self._squares: dict[str, float] = {}
        self._absolute: dict[str, float] = {}
        self._likeness: dict[str, tuple[float, int]] = {}
        along = (_HALF,) * len(sides)
        self._margin = (0, *along[1:]) if self._flat else along

    def add(self, name: str, box: Box, read: Read, fit: tuple[float, float]) -> None:
        """Take in a tile."""
        valid = tuple(
            slice(max(b.start, f.start + m), min(b.stop, f.stop - m))
            for b, f, m in zip(box, self._frame, self._margin, strict=True)
        )
        wide = tuple(
            slice(max(b.start - m, f.start), min(b.stop + m, f.stop))
            for b, f, m in zip(box, self._frame, self._margin, strict=True)
        )
        inner = _within(box, wide)
        wanted, image = self._truth.read(wide), fit[0] * read(wide) + fit[1]
        difference = image[inner] - wanted[inner]
        self._squares[name] = self._squares.get(name, 0.0) + float((difference**2).sum())
        self._absolute[name] = self._absolute.get(name, 0.0) + float(np.abs(difference).sum())
        if not self._measurable or any(v.stop <= v.start for v in valid):
            return
        likeness = self._similarity(wanted, image)[_within(valid, wide)]
        total, count = self._likeness.get(name, (0.0, 0))
        self._likeness[name] = (total + float(likeness.sum()), count + likeness.size)

    def _similarity(self, wanted: Image, image: Image) -> Image:
        if self._flat:
            planes = [self._similar(w, i) for w, i in zip(wanted, image, strict=True)]
            return np.stack(planes)
        return self._similar(wanted, image)

    def _similar(self, wanted: Image, image: Image) -> Image:
        found = structural_similarity(wanted, image, data_range=self._span, full=True)  # type: ignore[no-untyped-call]
        return np.asarray(found[1])

    def scores(self, name: str, moments: Moments, fit: tuple[float, float], part: Scores) -> Scores:
        """Return all measures; those that are no sums as they were measured in a part."""
        error = self._squares[name] / moments.count
        total, count = self._likeness.get(name, (math.nan, 1))
        return replace(
            part,
            psnr=10 * math.log10(self._span**2 / error) if error > 0 else math.inf,
            ssim=total / count,
            nrmse=math.sqrt(error / moments.second_power),
            mae=self._absolute[name] / moments.count,
            pearson=moments.pearson,
            gain=fit[0],
            offset=fit[1],
        )


def _cubic(coarse: LargeImage, factor: tuple[int, ...]) -> Read:
    def read(box: Box) -> Image:
        covered = tuple(
            slice(s.start // k, -(-s.stop // k)) for s, k in zip(box, factor, strict=True)
        )
        wide, _ = grown(covered, (_CUBIC_REACH,) * len(factor), coarse.shape)
        values = coarse.read(wide)
        shape = [n * k for n, k in zip(values.shape, factor, strict=True)]
        inner = tuple(
            slice(s.start - w.start * k, s.stop - w.start * k)
            for s, w, k in zip(box, wide, factor, strict=True)
        )
        return cubic_baseline(values, factor, shape)[inner]

    return read


def _within(box: Box, wide: Box) -> Box:
    """Return where a box lies in a wider one."""
    return tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, wide, strict=True))


def _shifted(tiles: list[Box], border: int) -> list[Box]:
    return [tuple(slice(s.start + border, s.stop + border) for s in box) for box in tiles]
