"""Evaluation of images that do not fit in memory: tile by tile, the same figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation.consistency import check_instrument
from napari_hrsr.evaluation.evaluated import Evaluation
from napari_hrsr.evaluation.images import check_factor, check_voxel_size
from napari_hrsr.evaluation.large_consistency import consistency_of, scaled_error_of
from napari_hrsr.evaluation.large_images import Box, LargeImage, finer, opened, richest_box
from napari_hrsr.evaluation.large_reference import comparison_of

if TYPE_CHECKING:
    from napari_hrsr.evaluation.evaluating import Report, Wishes

REGION = 2**22
"""Voxels of the result that figures in Fourier space are of, at most."""


def evaluate_large(
    result: Any,
    source: Any,
    reference: Any,
    second_result: Any,
    wishes: Wishes,
    in_memory: int,
    report: Report,
    check: Callable[[], None],
) -> Evaluation:
    """Evaluate images tile by tile; as for `evaluate`.

    Figures that are sums over pixels equal those of the whole, to rounding:
    consistency, resolution-scaled error, PSNR, SSIM, NRMSE, mean absolute error
    and Pearson correlation. The others are those of the part with the most
    structure.

    Parameters
    ----------
    result, source, reference, second_result : array-like or None
        The images; they are read in parts.
    wishes : Wishes
        What was said of them.
    in_memory : int
        Voxels of the result that may be held at once.
    report : callable
        Told what is being done.
    check : callable
        Called between tiles; may raise to stop.
    """
    from napari_hrsr.evaluation.evaluating import evaluate_whole

    rgb = wishes.rgb
    fine = opened(result, "result", rgb)
    sizes = check_voxel_size(wishes.voxel_size, len(fine.shape))
    truth = _alike(fine, reference, "reference", rgb)
    repeat = _alike(fine, second_result, "second result", rgb)
    coarse, factors = None, None
    if source is not None:
        coarse = opened(source, "source", rgb)
        factors = check_factor(fine.shape, coarse.shape, wishes.factor)
        check_instrument(wishes.forward, wishes.noise, factors)
    guide = fine if coarse is None else coarse
    others = [x for x in (fine, truth, repeat) if x is not None and x is not guide]
    budget = min(REGION, in_memory)
    factor = (1.0,) * len(sizes) if coarse is None or factors is None else factors
    box = richest_box(guide, factor, budget, report, check)
    for image in others:
        image.scan(report, check)
    part = finer(box, factor, fine.shape)
    notes: list[str] = []
    found = evaluate_whole(
        fine.cut(part), None if coarse is None else coarse.cut(box),
        None if truth is None else truth.cut(part), None if repeat is None else repeat.cut(part),
        replace(wishes, factor=factors, border=0, data_range=_span(truth, wishes)),
        report, check,
    )  # fmt: skip
    compared, consistency, scaled = found.reference, None, None
    if coarse is not None and factors is not None:
        try:
            consistency, residual = consistency_of(
                fine, coarse, factors, wishes.forward, wishes.noise, box, report, check
            )
            scaled = scaled_error_of(residual, report, check)
        except InputError as error:
            notes.append(f"consistency: {error}")
    if truth is not None and found.reference is not None:
        compared = comparison_of(
            fine, truth, coarse, factors, wishes, found.reference, report, check
        )
    kept = [n for n in found.notes if not n.startswith(("consistency: ", "resolution-scaled"))]
    return replace(
        found, shape=fine.shape, reference=compared, consistency=consistency, scaled=scaled,
        notes=(*notes, *kept), remarks=(_remark(part, fine.shape, truth is not None),),
    )  # fmt: skip


def _alike(fine: LargeImage, image: Any, name: str, rgb: bool) -> LargeImage | None:
    if image is None:
        return None
    other = opened(image, name, rgb)
    if other.shape != fine.shape:
        msg = (
            f"the {name} has shape {other.shape} but the result {fine.shape}: "
            "crop or resample one of them to the grid of the other"
        )
        raise InputError(msg)
    return other


def _span(truth: LargeImage | None, wishes: Wishes) -> Any:
    return truth.high - truth.low if truth and wishes.data_range == "reference" else (
        wishes.data_range
    )  # fmt: skip


def _remark(part: Box, shape: tuple[int, ...], compared: bool) -> str:
    letters = "zyx"[-len(shape) :]
    where = ", ".join(f"{c} {s.start} to {s.stop}" for c, s in zip(letters, part, strict=True))
    also = ", MS-SSIM, HaarPSI, GMSD and the power of bands" if compared else ""
    return (
        "The image is large: ring correlation, decorrelation, unsupported detail"
        f"{also} are those of the part with the most structure ({where} of the result)."
    )
