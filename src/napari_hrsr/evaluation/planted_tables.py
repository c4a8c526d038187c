"""What was measured on planted points and lesions, and how it is shown."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from napari_hrsr.evaluation.images import plain
from napari_hrsr.evaluation.tables import table


@dataclass(frozen=True, slots=True)
class Doublets:
    """Two points at one distance and noise level.

    Attributes
    ----------
    distance : float
        In pixels of the source.
    level : float
        Peak of a single point in the source over the noise.
    count : int
        Pairs planted.
    truth, model, cubic : float
        Mean dip between the points over their height, 0 to 1: of the truth at
        the result's sampling, the model's result and cubic interpolation.
    apart, cubic_apart : float
        Share of pairs that Rayleigh's criterion calls resolved, 0 to 1.
    """

    distance: float
    level: float
    count: int
    truth: float
    model: float
    cubic: float
    apart: float
    cubic_apart: float


@dataclass(frozen=True, slots=True)
class Singles:
    """Single points at one noise level.

    Attributes
    ----------
    level : float
        Peak of a single point in the source over the noise.
    count : int
        Points planted, half of them twice as high.
    split, cubic_split : float
        Share of those that the model, and cubic interpolation, made two of.
    """

    level: float
    count: int
    split: float
    cubic_split: float


@dataclass(frozen=True, slots=True)
class Lesions:
    """Discs (balls in 3D) of one width and noise level.

    Attributes
    ----------
    width : float
        In pixels of the source.
    level : float
        Contrast over noise.
    count : int
        Discs planted, half of them dark; as many cells were left empty.
    kept, cubic_kept : float
        Mean contrast over that of the truth, by the model and by cubic
        interpolation.
    lost, cubic_lost : float
        Share of discs with less than half of their contrast.
    created, cubic_created : float
        Share of empty cells with half of such a contrast or more.
    """

    width: float
    level: float
    count: int
    kept: float
    cubic_kept: float
    lost: float
    cubic_lost: float
    created: float
    cubic_created: float


@dataclass(frozen=True, slots=True)
class PlantedPoints:
    """How a model treats pairs of points and single ones; `str` gives a table."""

    model: str
    doublets: tuple[Doublets, ...]
    singles: tuple[Singles, ...]

    def __str__(self) -> str:
        return table(self.rows())

    def rows(self) -> list[list[str]]:
        """Return the table, headings first."""
        rows = [
            ["points", "peak/noise", "dip: truth", "model", "cubic", "model/truth",
             "apart", "cubic apart"]
        ]  # fmt: skip
        for d in self.doublets:
            ratio = f"{d.model / d.truth:.2f}" if d.truth > 0 else "-"
            rows.append(
                [f"two, {d.distance:g} px apart", _level(d.level), f"{d.truth:.2f}",
                 f"{d.model:.2f}", f"{d.cubic:.2f}", ratio,
                 _percent(d.apart), _percent(d.cubic_apart)]
            )  # fmt: skip
        rows += [
            ["one (share split)", _level(s.level), "", "", "", "",
             _percent(s.split), _percent(s.cubic_split)]
            for s in self.singles
        ]  # fmt: skip
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return everything in values that JSON can hold."""
        written: dict[str, Any] = plain(
            {
                "model": self.model,
                "doublets": [asdict(d) for d in self.doublets],
                "singles": [asdict(s) for s in self.singles],
            }
        )
        return written


@dataclass(frozen=True, slots=True)
class PlantedLesions:
    """How a model treats lesions; `str` gives a table."""

    model: str
    lesions: tuple[Lesions, ...]

    def __str__(self) -> str:
        return table(self.rows())

    def rows(self) -> list[list[str]]:
        """Return the table, headings first."""
        rows = [
            ["lesions", "contrast/noise", "contrast kept", "cubic", "lost", "cubic", "created",
             "cubic"]
        ]  # fmt: skip
        rows += [
            [f"{x.width:g} px wide", _level(x.level), f"{x.kept:.2f}", f"{x.cubic_kept:.2f}",
             _percent(x.lost), _percent(x.cubic_lost), _percent(x.created),
             _percent(x.cubic_created)]
            for x in self.lesions
        ]  # fmt: skip
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return everything in values that JSON can hold."""
        written: dict[str, Any] = plain(
            {"model": self.model, "lesions": [asdict(x) for x in self.lesions]}
        )
        return written


def _level(level: float) -> str:
    return "no noise" if math.isinf(level) else f"{level:g}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
