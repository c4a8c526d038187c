"""What is shown of an evaluation, wherever it is shown: rows, curves and maps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_hrsr.evaluation.images import Image

if TYPE_CHECKING:
    from napari_hrsr.evaluation.decorrelation import Decorrelation
    from napari_hrsr.evaluation.evaluated import Evaluation
    from napari_hrsr.evaluation.ring_curve import RingCorrelation, Threshold
    from napari_hrsr.evaluation.uncertainty import Uncertainty

BEYOND_NOISE = 5.0
"""Deviation from the source at which a consistency map ends, standard deviations of noise."""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure.

    Attributes
    ----------
    label, value : str
        For people; a label that starts with blanks belongs to the one before.
    meaning : str
        What it says, in a sentence.
    """

    label: str
    value: str
    meaning: str


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A line of a `Curve`.

    Attributes
    ----------
    label : str
        For the legend.
    x, y : ndarray
        Points, the same number.
    kind : str
        ``"main"``, ``"other"``, ``"faint"`` or ``"threshold"``.
    """

    label: str
    x: Image
    y: Image
    kind: Literal["main", "other", "faint", "threshold"] = "main"


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Lines over frequency.

    Attributes
    ----------
    title, x_label : str
        For people.
    lines : tuple of Line
        In the order in which they are drawn.
    marks : tuple of (float, str)
        Frequencies to point at, and what is there.
    meaning : str
        What it says, in a sentence or two.
    """

    title: str
    x_label: str
    lines: tuple[Line, ...]
    marks: tuple[tuple[float, str], ...]
    meaning: str


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """An image of where to look.

    Attributes
    ----------
    name : str
        For people.
    data : array-like
        2 or 3 spatial axes, on the grid of what it lies on.
    on : str
        ``"source"`` or ``"result"``.
    low, high : float
        Values of the two ends of the colours.
    diverging : bool
        Whether the middle of the colours means nothing.
    meaning : str
        What it says, in a sentence or two.
    """

    name: str
    data: Any
    on: Literal["source", "result"]
    low: float
    high: float
    diverging: bool
    meaning: str


def rows_of(found: Evaluation) -> list[Row]:
    """Return all figures but those that are compared with cubic interpolation."""
    rows = [*_consistency_rows(found), *_scaled_rows(found), *_detail_rows(found)]
    for label, curve, name, meaning in (
        ("right up to a period of (0.5, with the reference)", found.agreement, "0.5",
         "Structure that repeats in shorter distances is not that of the reference."),
        ("repeats itself up to a period of (1/7), true or not", found.repeat, "1/7",
         "Two recordings agree that far; what the model always makes up repeats itself too."),
        ("resolution of the source, its halves (1/7)", found.source_resolution, "1/7",
         "What is finer was not in the source, or hidden by its noise."),
    ):  # fmt: skip
        if curve:
            rows.append(Row(label, _length(curve, name, found.unit), meaning))  # type: ignore[arg-type]
    for label, part, meaning in (
        ("finest structure of the result, true or not", found.structure,
         "How fine the result looks. It says nothing about whether that is right."),
        ("finest structure of the source", found.source_structure,
         "How fine the source looks, measured in the same way."),
    ):  # fmt: skip
        if part:
            rows.append(Row(label, _finest(part, found.unit), meaning))
    return rows


def _consistency_rows(found: Evaluation) -> list[Row]:
    part = found.consistency
    if part is None:
        return []
    return [
        Row("degraded again, chi-square per pixel", f"{part.chi_square:.2f}",
            "About 1 where only noise was taken off; above, something was added or lost; "
            "0 reproduces the noise too."),
        Row("  pixels beyond 3 standard deviations of noise", f"{100 * part.outside:.2f} %",
            "Noise alone gives 0.27 %."),
        *_suspect_rows(found),
        Row("  PSNR with the source, dB", f"{part.psnr:.2f}",
            "Of the degraded result, for the source's range."),
        Row("  noise of the source", f"{part.noise:.4g}",
            "Standard deviation, in the units of the source."),
    ]  # fmt: skip


def _suspect_rows(found: Evaluation) -> list[Row]:
    part = found.suspects
    if part is None:
        return []
    return [
        Row("  places that stand out", str(len(part.places)),
            "Where the result contradicts the source far more than around: a structure of some "
            "three pixels of the source that was added there, or lost.")
    ]  # fmt: skip


def _scaled_rows(found: Evaluation) -> list[Row]:
    part = found.scaled
    if part is None:
        return []
    return [
        Row("resolution-scaled Pearson", f"{part.pearson:.4f}",
            "Likeness with the source once blur, gain and offset are matched; 1 is best."),
        Row("resolution-scaled error", f"{part.error:.4g}",
            "Root mean square difference left then, in the units of the source."),
    ]  # fmt: skip


def _detail_rows(found: Evaluation) -> list[Row]:
    rows = []
    detail = found.unsupported
    if detail is not None:
        rows += [
            Row("detail beyond the source that nothing in it supports",
                f"{100 * detail.share:.1f} %",
                "Of the energy beyond the source's band. At least that much is made up; where the "
                "source has strong structure, false detail cannot be told from true."),
            Row("  pixels where it is stronger than the noise", f"{100 * detail.outside:.2f} %",
                "See the map of unsupported detail."),
            Row("  all detail beyond the source's band", f"{100 * detail.created:.2g} %",
                "Of the energy of the result without its mean."),
        ]  # fmt: skip
    varied = found.uncertainty
    if varied is not None and varied.doubtful is not None and varied.coverage is not None:
        rows.append(
            Row("pixels to doubt", f"{100 * varied.doubtful:.1f} %",
                f"Their {100 * varied.coverage:g} % interval reaches further than "
                f"{100 * varied.doubt:g} % of the image's range. {varied.assumption}")
        )  # fmt: skip
    return rows


def curves_of(found: Evaluation) -> list[Curve]:
    """Return what is drawn over frequency."""
    curves = []
    for title, ring, name, meaning in (
        ("Agreement with the reference", found.agreement, "0.5",
         "Correlation of result and reference, ring by ring. Beyond the crossing with 0.5 the "
         "result is no longer right."),
        ("Two recordings", found.repeat, "1/7",
         "Correlation of the results of two independent recordings."),
        ("Two halves of the source", found.source_resolution, "1/7",
         "Correlation of two halves of the source, whose pixels are twice as large; the crossing "
         "is calibrated to the whole."),
    ):  # fmt: skip
        if ring is not None:
            curves.append(_ring_curve(title, ring, name, meaning, found.unit))  # type: ignore[arg-type]
    parts = [("result", found.structure, "main"), ("source", found.source_structure, "other")]
    present = [(label, part, kind) for label, part, kind in parts if part is not None]
    if present:
        curves.append(
            Curve(
                "Decorrelation", _frequency(found.unit),
                tuple(Line(label, p.radii, p.curve, kind) for label, p, kind in present),  # type: ignore[arg-type]
                tuple(
                    (p.cutoff, f"{label}: {p.resolution:.4g} {found.unit}")
                    for label, p, _ in present
                    if not math.isnan(p.cutoff)
                ),
                "How much of each image is structure rather than noise up to each frequency. "
                "The marks are the finest structure that is found, true or not.",
            )
        )  # fmt: skip
    return curves


def _ring_curve(
    title: str, ring: RingCorrelation, name: Threshold, meaning: str, unit: str
) -> Curve:
    x = ring.frequency
    lines = [
        Line("each ring", x, ring.correlation, "faint"),
        Line("smoothed", x, ring.smoothed),
        Line(name, x, ring.threshold(name), "threshold"),
    ]
    crossing = ring.crossing(name)
    marks: tuple[tuple[float, str], ...] = ()
    if not math.isnan(crossing.frequency):
        # Halves have frequencies of their own: the crossing drawn is theirs.
        below = np.flatnonzero(ring.smoothed < ring.threshold(name))
        drawn = float(x[below[0]]) if ring.single and below.size else crossing.frequency
        marks = ((min(drawn, float(x[-1])), _length(ring, name, unit)),)
    return Curve(title, _frequency(unit), tuple(lines), marks, meaning)


def maps_of(found: Evaluation) -> list[Map]:
    """Return the images of where to look."""
    maps = []
    if found.consistency is not None:
        maps.append(
            Map(
                "consistency", found.consistency.deviation, "source", -BEYOND_NOISE, BEYOND_NOISE,
                True,
                "Degraded result less source, in standard deviations of the source's noise. "
                "Strong colours: the result contradicts what was measured.",
            )
        )  # fmt: skip
    if found.scaled is not None and found.scaled.error > 0:
        maps.append(
            Map(
                "resolution-scaled error", found.scaled.error_map, "source", 0.0,
                4 * found.scaled.error, False,
                "Absolute difference from the source once blur, gain and offset are matched, "
                "in the units of the source.",
            )
        )  # fmt: skip
    detail = found.unsupported
    if detail is not None:
        maps.append(
            Map(
                "unsupported detail", detail.excess, "result", 0.0, BEYOND_NOISE, False,
                "Detail beyond the source's band that nothing in the source supports, in standard "
                "deviations of the source's noise.",
            )
        )  # fmt: skip
    varied = found.uncertainty
    if varied is not None:
        maps.append(_uncertainty_map(varied))
    return maps


def _uncertainty_map(varied: Uncertainty) -> Map:
    if varied.half_width is None or varied.coverage is None:
        shown, what = varied.spread, "Standard deviation over mirrored views of the image"
    else:
        shown, what = varied.half_width, (
            f"Half the width of the {100 * varied.coverage:g} % interval"
        )  # fmt: skip
    # Enough of a large map to know how strong it is.
    step = tuple(slice(n // 2, n // 2 + 512) if n > 2**11 else slice(0, n) for n in shown.shape)
    top = float(np.percentile(np.asarray(shown[step]), 99.8)) or 1.0
    return Map(
        "uncertainty", shown, "result", 0.0, top, False,
        f"{what}, in the units of the image. {varied.assumption}",
    )  # fmt: skip


def _frequency(unit: str) -> str:
    return f"cycles per {unit}"


def _finest(part: Decorrelation, unit: str) -> str:
    return "none" if math.isnan(part.cutoff) else f"{part.resolution:.4g} {unit}"


def _length(curve: RingCorrelation, threshold: Threshold, unit: str) -> str:
    crossing = curve.crossing(threshold)
    if math.isnan(crossing.frequency):
        return "none"
    sign = "<= " if crossing.limited_by_sampling else ""
    return f"{sign}{crossing.resolution:.4g} {unit}"
