"""What makes an interval of a spread, and the calibrations that ship with the models."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from typing import Any, Self

from napari_hrsr.errors import InputError
from napari_hrsr.models.spec import ModelSpec

ASSUMPTION = (
    "The intervals hold the stated share of the truth on average over pixels of images that are "
    "exchangeable with those of the calibration: recorded alike, of alike specimens, equally "
    "noisy. For other images the share can be smaller. What all views of the image get wrong "
    "alike is not seen in the spread."
)
UNCALIBRATED = (
    "There is no calibration for this model, so the spread is shown as it is: larger means less "
    "certain, but no share of the truth is claimed to lie within it. Calibrate the model on pairs "
    "of a low-resolution image and its truth."
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The factor between a spread's normaliser and an interval.

    Attributes
    ----------
    factor : float
        Half the width of an interval over the normaliser.
    coverage : float
        Share of the truth that the intervals hold, 0 to 1.
    model : str
        Name of the model, or of several joined by ``|``.
    weights_sha256 : tuple of str
        Of each model's weights; an empty text for a model without.
    calibrated_on : str
        The images, for people.
    images, blocks : int
        How many images there were, and blocks of them.
    groups : Mapping of str to float
        The factor that each group of images needs; `factor` is the largest.
    """

    factor: float
    coverage: float
    model: str
    weights_sha256: tuple[str, ...]
    calibrated_on: str
    images: int
    blocks: int
    groups: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.factor >= 0 and 0 < self.coverage < 1):
            msg = (
                "a calibration needs a factor from 0 up and a coverage between 0 and 1, "
                f"got {self.factor!r} and {self.coverage!r}"
            )
            raise InputError(msg)

    def to_dict(self) -> dict[str, Any]:
        """Return values that JSON can hold."""
        return asdict(self) | {
            "weights_sha256": list(self.weights_sha256),
            "groups": dict(self.groups),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`'s values.

        Raises
        ------
        InputError
            If something is missing, unknown or makes no sense.
        """
        try:
            return cls(**{**values, "weights_sha256": tuple(values["weights_sha256"])})
        except (KeyError, TypeError) as error:
            msg = f"this is no calibration: {error}"
            raise InputError(msg) from None

    def for_group(self, name: str) -> Calibration:
        """Return the calibration of one group alone: narrower, where the group is known.

        Parameters
        ----------
        name : str
            A key of `groups`, such as ``"fluorescence"``.

        Raises
        ------
        InputError
            If there is no such group.
        """
        if name not in self.groups:
            msg = f"there is no group {name!r}; calibrated are {', '.join(sorted(self.groups))}"
            raise InputError(msg)
        factor = self.groups[name]
        return replace(self, factor=factor, groups={name: factor})

    def belongs_to(self, specs: Sequence[ModelSpec]) -> bool:
        """Tell whether it was made with these models."""
        return self.weights_sha256 == weights_of(specs) and (
            any(self.weights_sha256) or self.model == name_of(specs)
        )


def weights_of(specs: Sequence[ModelSpec]) -> tuple[str, ...]:
    """Return the digests of models' weights, in the order of the models."""
    return tuple("" if spec.weights is None else spec.weights.sha256 for spec in specs)


def name_of(specs: Sequence[ModelSpec]) -> str:
    """Return the names of models as one."""
    return "|".join(spec.name for spec in specs)


@functools.cache
def shipped_calibrations() -> tuple[Calibration, ...]:
    """Return the calibrations that are in the package, made by ``benchmarks/uncertainty.py``."""
    text = files(__package__).joinpath("calibrations.json").read_text("utf-8")
    return tuple(Calibration.from_dict(entry) for entry in json.loads(text))


def find_calibration(specs: Sequence[ModelSpec], coverage: float) -> Calibration | None:
    """Return the calibration that ships for models.

    Parameters
    ----------
    specs : sequence of ModelSpec
        Of the models.
    coverage : float
        That the intervals shall have.

    Returns
    -------
    Calibration or None
        None where there is none for these weights.

    Raises
    ------
    InputError
        If there is one, but not for this coverage.
    """
    every = [c for c in shipped_calibrations() if c.belongs_to(specs)]
    for calibration in every:
        if abs(calibration.coverage - coverage) < 1e-9:
            return calibration
    if every:
        known = ", ".join(f"{c.coverage:g}" for c in sorted(every, key=lambda c: c.coverage))
        msg = (
            f"model {name_of(specs)!r} is calibrated for a coverage of {known}, not {coverage:g}: "
            "choose one of these, or calibrate it"
        )
        raise InputError(msg)
    return None
