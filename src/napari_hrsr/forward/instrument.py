"""An instrument as a user names it, and as a record keeps it."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_hrsr.errors import InputError
from napari_hrsr.forward.gram import gram_of, has_stencil
from napari_hrsr.forward.model import ForwardModel, Sampling
from napari_hrsr.forward.point_spread import PointSpread

_WIDEST = 8.0
"""Source pixels; a blur that is wider could not be undone at all."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What a user says of an instrument before the model, and so the factor, is known.

    Attributes
    ----------
    psf_sigma : tuple of float
        Standard deviation of a Gaussian blur in source pixels: one number, or
        one per spatial axis; empty for none.
    sampling : str
        As for `ForwardModel`.
    """

    psf_sigma: tuple[float, ...] = ()
    sampling: Sampling = "area"

    def forward(self, factor: Sequence[int]) -> ForwardModel:
        """Return the model for a factor.

        Raises
        ------
        InputError
            If the number of widths is wrong, or a value makes no sense.
        """
        widths = self.psf_sigma
        if len(widths) == 1:
            widths *= len(factor)
        if widths and len(widths) != len(factor):
            msg = (
                f"the width of the blur is one number or one per axis of the model "
                f"({len(factor)}), got {self.psf_sigma}"
            )
            raise InputError(msg)
        if not all(0 <= width <= _WIDEST for width in widths):
            msg = (
                f"the width of the blur must be 0 to {_WIDEST:g} source pixels, "
                f"got {self.psf_sigma}"
            )
            raise InputError(msg)
        fine = tuple(width * k for width, k in zip(widths, factor, strict=False))
        return ForwardModel(tuple(factor), psf_sigma=fine, sampling=self.sampling)


def check_instrument(wanted: Any, factor: Sequence[int]) -> ForwardModel | None:
    """Refuse an instrument that a model's results cannot be held to.

    Parameters
    ----------
    wanted : ForwardModel, Instrument or bool
        True: pixels integrate over their area, with no blur before that.
    factor : sequence of int
        Of the model, per spatial axis.

    Returns
    -------
    ForwardModel or None
        None where nothing is wanted.

    Raises
    ------
    InputError
        With what does not fit.
    """
    if wanted is None or wanted is False:
        return None
    factor = tuple(factor)
    forward = Instrument() if wanted is True else wanted
    if isinstance(forward, Instrument):
        forward = forward.forward(factor)
    if not isinstance(forward, ForwardModel):
        msg = f"consistent is True, False or a ForwardModel, got {wanted!r}"
        raise InputError(msg)
    if forward.factor != factor:
        msg = (
            f"the ForwardModel in consistent has the factor {forward.factor}, but the model "
            f"{factor}: give it the model's"
        )
        raise InputError(msg)
    if not has_stencil(forward):
        msg = (
            "k-space truncation reaches across the whole image, so a result cannot be held to it "
            "tile by tile: apply evaluation.make_consistent to the finished result"
        )
        raise InputError(msg)
    gram = gram_of(forward)
    if math.prod(factor) == 1 and gram.local is not None:
        msg = (
            "a result of the source's own size can be held to the source only through a blur: "
            "give its point spread function, or leave consistent out"
        )
        raise InputError(msg)
    return forward


def describe_instrument(forward: ForwardModel) -> dict[str, Any]:
    """Write an instrument down in values that JSON can hold.

    Parameters
    ----------
    forward : ForwardModel
        The instrument; widths are in pixels of the result.
    """
    described: dict[str, Any] = {
        "factor": list(forward.factor),
        "psf_sigma": [float(s) for s in forward.psf_sigma],
        "sampling": forward.sampling,
    }
    if forward.slice_axis is not None:
        described["slice_axis"] = forward.slice_axis
        described["slice_fwhm"] = float(forward.slice_fwhm)
        described["slice_profile"] = forward.slice_profile
    if forward.point_spread is not None:
        kernel = np.ascontiguousarray(forward.point_spread.kernel, "<f8")
        described["point_spread"] = {
            "shape": list(kernel.shape),
            "float64": base64.b64encode(kernel.tobytes()).decode("ascii"),
        }
    return described


def read_instrument(described: dict[str, Any]) -> ForwardModel:
    """Read what `describe_instrument` wrote.

    Parameters
    ----------
    described : dict
        As written.

    Raises
    ------
    KeyError, TypeError, ValueError
        If something is missing, or makes no sense.
    InputError
        If the instrument does not.
    """
    point_spread = None
    if "point_spread" in described:
        stored = described["point_spread"]
        values = np.frombuffer(base64.b64decode(stored["float64"]), "<f8")
        point_spread = PointSpread(values.reshape([int(n) for n in stored["shape"]]))
    slices = {}
    if described.get("slice_axis") is not None:
        slices = {
            "slice_axis": int(described["slice_axis"]),
            "slice_fwhm": float(described["slice_fwhm"]),
            "slice_profile": described["slice_profile"],
        }
    return ForwardModel(
        tuple(int(k) for k in described["factor"]),
        psf_sigma=tuple(float(s) for s in described["psf_sigma"]),
        sampling=described["sampling"],
        point_spread=point_spread,
        **slices,
    )
