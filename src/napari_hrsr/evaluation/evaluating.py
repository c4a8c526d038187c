"""Everything that can be said about a result, from whatever images there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from napari_hrsr.errors import InputError, ModelError
from napari_hrsr.evaluation.consistency import (
    Consistency,
    check_consistency,
    check_instrument,
    measured_noise,
)
from napari_hrsr.evaluation.decorrelation import decorrelate
from napari_hrsr.evaluation.evaluated import Evaluation
from napari_hrsr.evaluation.hallucination import unsupported_detail
from napari_hrsr.evaluation.images import (
    Cancelled,
    Image,
    as_callable,
    check_factor,
    check_image,
    check_same_shape,
    check_voxel_size,
    whole,
)
from napari_hrsr.evaluation.reference import compare_with_reference
from napari_hrsr.evaluation.resolution_scaled import resolution_scaled_error
from napari_hrsr.evaluation.ring_correlation import correlate_halves, correlate_rings
from napari_hrsr.evaluation.suspects import find_suspects
from napari_hrsr.forward import ForwardModel

if TYPE_CHECKING:
    from napari_hrsr.evaluation.uncertainty import Uncertainty

Part = TypeVar("Part")
Report = Callable[[str, int, int], None]

IN_MEMORY = 2**23
"""Voxels of a result up to which everything is held in memory."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was said of the images; see `evaluate`."""

    factor: float | Sequence[float] | None
    voxel_size: float | Sequence[float] | None
    unit: str
    forward: ForwardModel | None
    noise: float | None
    data_range: float | Literal["reference", "dtype"]
    match: bool
    border: int
    rgb: bool


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
    uncertainty: Callable[[], Uncertainty] | None = None,
    in_memory: int = IN_MEMORY,
    progress: Report | None = None,
    cancelled: Cancelled | None = None,
) -> Evaluation:
    """Say how far a result can be trusted, from whatever images there are.

    Parameters
    ----------
    result : array-like
        Shape (Y, X) or (Z, Y, X); with `rgb` a last axis of colours, of which
        the luminance is evaluated. numpy, memory map, zarr or dask.
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
    uncertainty : callable, optional
        Measures how much the model varies, called without arguments: for example
        `measure_uncertainty` with everything filled in. It takes the longest.
    in_memory : int
        Voxels of the result up to which everything is held in memory. Larger
        images are read tile by tile: the same figures, save that those in
        Fourier space and of perception are of the part with most structure.
    progress : callable, optional
        Called with what is being done, and how many parts are done of how many.
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
    from napari_hrsr.evaluation.large import evaluate_large

    check = as_callable(cancelled)
    check()
    wishes = Wishes(factor, voxel_size, unit, forward, noise, data_range, match, border, rgb)
    images = (result, source, reference, second_result)
    report = progress or (lambda what, done, total: None)
    if math.prod(_spatial(result, rgb)) > in_memory:
        found = evaluate_large(*images, wishes, in_memory, report, check)
    else:
        found = evaluate_whole(*images, wishes, report, check)
    if found.consistency is not None:
        found = replace(found, suspects=find_suspects(found.consistency.deviation, check))
    if uncertainty is None:
        return found
    check()
    try:
        return replace(found, uncertainty=uncertainty())
    except (InputError, ModelError) as error:
        return replace(found, notes=(*found.notes, f"uncertainty: {error}"))


def _spatial(image: Any, rgb: bool) -> tuple[int, ...]:
    shape = tuple(getattr(image, "shape", None) or np.shape(image))
    return shape[:-1] if rgb else shape


def evaluate_whole(
    result: Any,
    source: Any,
    reference: Any,
    second_result: Any,
    wishes: Wishes,
    report: Report,
    check: Callable[[], None],
) -> Evaluation:
    """Evaluate images that fit in memory; as for `evaluate`.

    Parameters
    ----------
    result, source, reference, second_result : array-like or None
        The images.
    wishes : Wishes
        What was said of them.
    report : callable
        Told what is being done.
    check : callable
        Called between steps; may raise to stop.
    """
    rgb, forward, noise = wishes.rgb, wishes.forward, wishes.noise
    fine = check_image(result, "result", rgb=rgb)
    sizes = check_voxel_size(wishes.voxel_size, fine.ndim)
    factors, coarse, truth, repeat = None, None, None, None
    if reference is not None:
        truth = check_image(reference, "reference", rgb=rgb)
        check_same_shape(fine, truth, "reference")
    if second_result is not None:
        repeat = check_image(second_result, "second result", rgb=rgb)
        check_same_shape(fine, repeat, "second result")
    if source is not None:
        coarse = check_image(source, "source", rgb=rgb)
        factors = check_factor(fine.shape, coarse.shape, wishes.factor)
        check_instrument(forward, noise, factors)
    # Left out is what cannot be measured on good images; those that are wrong were refused above.
    notes: list[str] = []
    steps = 1 + 2 * (truth is not None) + (repeat is not None) + 5 * (coarse is not None)
    done = 0

    def attempt(name: str, measure: Callable[[], Part]) -> Part | None:
        nonlocal done
        check()
        report("Evaluating", done, steps)
        done += 1
        try:
            return measure()
        except InputError as error:
            notes.append(f"{name}: {error}")
            return None

    compared = agreement = repeated = consistency = scaled = before = halves = detail = None
    if truth is not None:
        report("Evaluating", done, steps)
        compared = compare_with_reference(
            result, reference, source=source, factor=factors, data_range=wishes.data_range,
            match=wishes.match, border=wishes.border, rgb=rgb, check=check,
        )  # fmt: skip
        done += 1
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
        if consistency is not None:
            known = consistency
            detail = attempt(
                "unsupported detail",
                lambda: unsupported_detail(
                    fine, coarse, factor=factors, forward=known.forward, noise=known.noise,
                    voxel_size=sizes, check=check,
                ),
            )  # fmt: skip
    structure = attempt(
        "structure of the result", lambda: decorrelate(fine, voxel_size=sizes, check=check)
    )
    check()
    report("Evaluating", steps, steps)
    return Evaluation(
        fine.shape, factors, sizes, wishes.unit, compared, agreement, repeated, consistency,
        scaled, structure, before, halves, detail, notes=tuple(notes),
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
