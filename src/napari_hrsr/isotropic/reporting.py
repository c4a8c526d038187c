"""What is said of a result: to people, and in its record."""

from __future__ import annotations

from typing import Any

from napari_hrsr.isotropic.axial_model import AxialModel
from napari_hrsr.isotropic.measuring import SHARPEST, Measured
from napari_hrsr.isotropic.restoring import AxialRestoration
from napari_hrsr.isotropic.stack import CLEAN
from napari_hrsr.jobs import Job, describe_job


def describe_restoration(
    job: Job, measured: Measured, model: AxialModel, *, source_name: str = ""
) -> dict[str, Any]:
    """Record how an isotropic volume was made, in values that JSON can hold.

    Parameters
    ----------
    job : Job
        From `plan_restoration`.
    measured : Measured
        From `measure`.
    model : AxialModel
        The network.
    source_name : str
        Base name of the source's file or layer; never a path.
    """
    regrid = job.regrid
    assert isinstance(regrid, AxialRestoration)
    stack, profile = measured.stack, measured.profile
    record = describe_job(job, measured.intensity, source_name=source_name)
    return record | {
        "task": "isotropic",
        "axis": "zyx"[stack.axis],
        "spacing": list(stack.spacing),
        "target": list(stack.target),
        "slice_profile": profile.kind,
        "slice_fwhm": profile.fwhm * stack.spacing[stack.axis],
        "slice_fwhm_estimated": measured.estimate is not None,
        "consistency": regrid.gain,
        "caution": describe_caution(measured),
    }


def describe_caution(measured: Measured) -> str:
    """Say, for people, what cannot be relied on in the result.

    Parameters
    ----------
    measured : Measured
        Of the stack.
    """
    said = (
        "Detail along the coarse axis is inferred from what slices look like along theirs: "
        "where objects differ between the two, as flat cells and fibres along the axis do, "
        "it can be wrong."
    )
    if measured.noise > CLEAN:
        said += (
            f" The slices are noisy ({100 * measured.noise:.1f} % of their range): the result is "
            "smoothed rather than sharpened where noise hides detail."
        )
    return said


def describe_width(measured: Measured) -> str:
    """Say, for people, how thick the slices are taken to be, and why.

    Parameters
    ----------
    measured : Measured
        Of the stack.
    """
    stack, profile, found = measured.stack, measured.profile, measured.estimate
    distance = stack.spacing[stack.axis]
    width = f"{profile.fwhm * distance:.3g} ({100 * profile.fwhm:.0f} % of their distance)"
    if measured.learned:
        return f"slices taken to be {width} thick, as the network was learned for"
    if found is None:
        return f"slices {width} thick, as given"
    if not found.certain:
        return f"slices taken to be {width} thick: {found.reason}"
    if profile.fwhm >= SHARPEST:
        return (
            f"slices taken to be {width} thick; the stack is blurred as by slices "
            f"{found.fwhm * distance:.3g} thick: state their thickness to take that back as well"
        )
    return (
        f"slices estimated to be {found.fwhm * distance:.3g} thick, taken to be a little thinner: "
        f"{width}"
    )
