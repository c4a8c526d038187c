"""Everything that can be said about a result, from whatever images there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation.consistency import (
    Consistency,
    check_consistency,
    check_instrument,
    measured_noise,
)
from napari_hrsr.evaluation.decorrelation import Decorrelation, decorrelate
from napari_hrsr.evaluation.images import (
    Cancelled,
    Image,
    as_callable,
    check_factor,
    check_image,
    check_same_shape,
    check_voxel_size,
    plain,
    whole,
)
from napari_hrsr.evaluation.reference import ReferenceComparison, compare_with_reference
from napari_hrsr.evaluation.resolution_scaled import ResolutionScaled, resolution_scaled_error
from napari_hrsr.evaluation.ring_correlation import correlate_halves, correlate_rings
from napari_hrsr.evaluation.ring_curve import RingCorrelation
from napari_hrsr.evaluation.tables import table
from napari_hrsr.forward import ForwardModel

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What was found about a result. None where an image for it was not given.

    Attributes
    ----------
    shape : tuple of int
        Of the result.
    factor : tuple of float or None
        Pixels of the result in one of the source, per axis.
    voxel_size : tuple of float
        Of the result, per axis.
    unit : str
        Of `voxel_size`, for people.
    reference : ReferenceComparison or None
        The result, and the cubic interpolation of the source, beside the reference.
    agreement : RingCorrelation or None
        Of result and reference: where it falls below 0.5 the result stops being right.
    repeat : RingCorrelation or None
        Of the results of two independent recordings: up to where they repeat each
        other. What the method always makes up repeats itself too.
    consistency : Consistency or None
        The degraded result beside the source.
    scaled : ResolutionScaled or None
        The same with blur, gain and offset fitted.
    structure : Decorrelation
        How fine the result's structure is, true or not.
    source_structure : Decorrelation or None
        The same of the source.
    source_resolution : RingCorrelation or None
        Of the source's two halves.
    notes : tuple of str
        What was left out, and why.
    """

    shape: tuple[int, ...]
    factor: tuple[float, ...] | None
    voxel_size: tuple[float, ...]
    unit: str
    reference: ReferenceComparison | None
    agreement: RingCorrelation | None
    repeat: RingCorrelation | None
    consistency: Consistency | None
    scaled: ResolutionScaled | None
    structure: Decorrelation | None
    source_structure: Decorrelation | None
    source_resolution: RingCorrelation | None
    notes: tuple[str, ...]

    def __str__(self) -> str:
        parts = [str(self.reference)] if self.reference else []
        rows = self._rows()
        if rows:
            parts.append(table(rows))
        return "\n\n".join([*parts, *(f"Left out: {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers and curves, without the maps, in values that JSON can hold."""
        written: dict[str, Any] = {
            "shape": plain(self.shape), "factor": plain(self.factor),
            "voxel_size": plain(self.voxel_size), "unit": self.unit,
        }  # fmt: skip
        for name in (
            "reference", "agreement", "repeat", "consistency", "scaled", "structure",
            "source_structure", "source_resolution",
        ):  # fmt: skip
            part = getattr(self, name)
            written[name] = None if part is None else part.to_dict()
        return written | {"notes": list(self.notes)}

    def _rows(self) -> list[list[str]]:
        rows = []
        found = self.consistency
        if found:
            rows += [
                ["degraded again, chi-square per pixel", f"{found.chi_square:.2f}"],
                ["  pixels beyond 3 standard deviations of noise", f"{100 * found.outside:.2f} %"],
                ["  PSNR with the source, dB", f"{found.psnr:.2f}"],
                ["  noise of the source", f"{found.noise:.4g}"],
            ]
        if self.scaled:
            rows += [
                ["resolution-scaled Pearson", f"{self.scaled.pearson:.4f}"],
                ["resolution-scaled error", f"{self.scaled.error:.4g}"],
            ]
        for label, curve, threshold in (
            ("right up to a period of (0.5, with the reference)", self.agreement, "0.5"),
            ("repeats itself up to a period of (1/7), true or not", self.repeat, "1/7"),
            ("resolution of the source, its halves (1/7)", self.source_resolution, "1/7"),
        ):
            if curve:
                rows.append([label, self._length(curve, threshold)])
        for label, part in (
            ("finest structure of the result, true or not", self.structure),
            ("finest structure of the source", self.source_structure),
        ):
            if part:
                found_any = not np.isnan(part.cutoff)
                rows.append([label, f"{part.resolution:.4g} {self.unit}" if found_any else "none"])
        return rows

    def _length(self, curve: RingCorrelation, threshold: Any) -> str:
        crossing = curve.crossing(threshold)
        if np.isnan(crossing.frequency):
            return "none"
        sign = "<= " if crossing.limited_by_sampling else ""
        return f"{sign}{crossing.resolution:.4g} {self.unit}"


def evaluate(
    result: Any,
    *,
    source: Any = None,
    reference: Any = None,
    second_result: Any = None,
    factor: float | Sequence[float] | None = None,
    voxel_size: float | Sequence[float] | None = None,
    unit: str = "pixel",
    forward: ForwardModel | None = None,
    noise: float | None = None,
    data_range: float | Literal["reference", "dtype"] = "reference",
    match: bool = False,
    border: int = 0,
    rgb: bool = False,
    cancelled: Cancelled | None = None,
) -> Evaluation:
    """Say how far a result can be trusted, from whatever images there are.

    Parameters
    ----------
    result : array-like
        Shape (Y, X) or (Z, Y, X); with `rgb` a last axis of colours, of which
        the luminance is evaluated.
    source : array-like, optional
        What it was made of.
    reference : array-like, optional
        The truth, on the grid of the result.
    second_result : array-like, optional
        The same made of a second, independent recording of the same scene.
    factor : float or sequence of float, optional
        Of the upscaling, per axis; read off the shapes if left out.
    voxel_size : float or sequence of float, optional
        World units per pixel of the result, per axis; 1 if left out.
    unit : str
        Of `voxel_size`, for people.
    forward : ForwardModel, optional
        The instrument; see `check_consistency`.
    noise : float, optional
        Standard deviation of the source's noise, in its units; measured if left
        out.
    data_range, match, border
        See `compare_with_reference`.
    rgb : bool
        Whether the last axis of every image holds colours.
    cancelled : threading.Event or callable, optional
        Stops the evaluation when set, or when it returns True.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        If the images do not belong together or cannot be measured.
    CancelledError
        If `cancelled` stopped it.
    """
    check = as_callable(cancelled)
    check()
    fine = check_image(result, "result", rgb=rgb)
    sizes = check_voxel_size(voxel_size, fine.ndim)
    factors, coarse, truth, repeat = None, None, None, None
    if reference is not None:
        truth = check_image(reference, "reference", rgb=rgb)
        check_same_shape(fine, truth, "reference")
    if second_result is not None:
        repeat = check_image(second_result, "second result", rgb=rgb)
        check_same_shape(fine, repeat, "second result")
    if source is not None:
        coarse = check_image(source, "source", rgb=rgb)
        factors = check_factor(fine.shape, coarse.shape, factor)
        check_instrument(forward, noise, factors)
    # Left out is what cannot be measured on good images; those that are wrong were refused above.
    notes: list[str] = []

    def attempt(name: str, measure: Callable[[], Part]) -> Part | None:
        check()
        try:
            return measure()
        except InputError as error:
            notes.append(f"{name}: {error}")
            return None

    compared = agreement = repeated = consistency = scaled = before = halves = None
    if truth is not None:
        compared = compare_with_reference(
            result, reference, source=source, factor=factors, data_range=data_range,
            match=match, border=border, rgb=rgb, check=check,
        )  # fmt: skip
        agreement = attempt(
            "agreement with the reference", lambda: correlate_rings(fine, truth, voxel_size=sizes)
        )
    if repeat is not None:
        repeated = attempt(
            "two recordings", lambda: correlate_rings(fine, repeat, voxel_size=sizes)
        )
    if coarse is not None and factors is not None:
        wide = [s * f for s, f in zip(sizes, factors, strict=True)]
        consistency = attempt(
            "consistency",
            lambda: _consistency(fine, coarse, source, factors, forward, noise, rgb, check),
        )
        scaled = attempt(
            "resolution-scaled error",
            lambda: resolution_scaled_error(fine, coarse, factor=factors, check=check),
        )
        halves = attempt(
            "resolution of the source",
            lambda: correlate_halves(coarse, voxel_size=wide, network_output=False, check=check),
        )
        before = attempt(
            "structure of the source", lambda: decorrelate(coarse, voxel_size=wide, check=check)
        )
    structure = attempt(
        "structure of the result", lambda: decorrelate(fine, voxel_size=sizes, check=check)
    )
    check()
    return Evaluation(
        fine.shape, factors, sizes, unit, compared, agreement, repeated, consistency, scaled,
        structure, before, halves, tuple(notes),
    )  # fmt: skip


def _consistency(
    fine: Image,
    coarse: Image,
    source: Any,
    factor: tuple[float, ...],
    forward: ForwardModel | None,
    noise: float | None,
    rgb: bool,
    check: Callable[[], None],
) -> Consistency:
    whole(factor)
    if noise is None:
        # Rounding is seen only in the source as it is, not in its luminance.
        noise = measured_noise(coarse if rgb else source)
    return check_consistency(fine, coarse, forward=forward, factor=factor, noise=noise, check=check)
