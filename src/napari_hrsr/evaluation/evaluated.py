"""What an evaluation found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_hrsr.evaluation.consistency import Consistency
from napari_hrsr.evaluation.decorrelation import Decorrelation
from napari_hrsr.evaluation.hallucination import UnsupportedDetail
from napari_hrsr.evaluation.images import plain
from napari_hrsr.evaluation.reference import ReferenceComparison
from napari_hrsr.evaluation.resolution_scaled import ResolutionScaled
from napari_hrsr.evaluation.ring_curve import RingCorrelation
from napari_hrsr.evaluation.showing import Curve, Map, Row, curves_of, maps_of, rows_of
from napari_hrsr.evaluation.suspects import Suspects
from napari_hrsr.evaluation.tables import table
from napari_hrsr.evaluation.verdicts import verdicts_of

if TYPE_CHECKING:
    from napari_hrsr.evaluation.uncertainty import Uncertainty

PARTS = (
    "reference", "agreement", "repeat", "consistency", "scaled", "structure",
    "source_structure", "source_resolution", "unsupported", "suspects",
    "uncertainty",
)  # fmt: skip
"""Attributes of an `Evaluation` that are None where they were not measured."""


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
    unsupported : UnsupportedDetail or None
        What the result has beyond the source's band without a reason in the source.
    suspects : Suspects or None
        Places where the result contradicts the source far more than around them.
    uncertainty : Uncertainty or None
        How much the model itself varies, as intervals.
    notes : tuple of str
        What was left out, and why.
    remarks : tuple of str
        What else has to be known of the figures: above all which were measured
        in a part of a large image.
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
    unsupported: UnsupportedDetail | None = None
    suspects: Suspects | None = None
    uncertainty: Uncertainty | None = None
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [str(self.reference)] if self.reference else []
        rows = self.rows()
        if rows:
            parts.append(table([[row.label, row.value] for row in rows]))
        parts += self.remarks
        return "\n\n".join([*parts, *(f"Left out: {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers and curves, without the maps, in values that JSON can hold."""
        written: dict[str, Any] = {
            "shape": plain(self.shape), "factor": plain(self.factor),
            "voxel_size": plain(self.voxel_size), "unit": self.unit,
        }  # fmt: skip
        for name in PARTS:
            part = getattr(self, name)
            written[name] = None if part is None else part.to_dict()
        return written | {
            "verdicts": self.verdicts(), "notes": list(self.notes), "remarks": list(self.remarks),
        }  # fmt: skip

    def rows(self) -> list[Row]:
        """Return the figures, other than those that stand beside cubic interpolation."""
        return rows_of(self)

    def curves(self) -> list[Curve]:
        """Return what is drawn over frequency."""
        return curves_of(self)

    def maps(self) -> list[Map]:
        """Return the images of where to look."""
        return maps_of(self)

    def verdicts(self) -> list[str]:
        """Return what all this means, in sentences; the gravest doubt first."""
        return verdicts_of(self)
