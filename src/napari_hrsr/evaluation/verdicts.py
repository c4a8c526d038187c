"""What the figures of an evaluation mean, in plain sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_hrsr.evaluation.evaluated import Evaluation
    from napari_hrsr.evaluation.suspects import Suspects

CONSISTENT, DOUBTFUL = 1.5, 4.0
"""Chi-square per pixel up to which noise explains the difference, and from which it cannot."""

_COPIED = 0.05
"""Chi-square per pixel below which a result holds the noise of its source."""

_UNLIKE = 0.98
_FINER = 0.9
_MADE_UP = 0.5
_MANY = 0.05
_NAMED = 3

LIMITS = (
    "What the instrument does not record leaves no trace in its images: structure that blur and "
    "sampling remove completely can be made up without contradicting the source. No check against "
    "the source can detect it; only a reference can."
)
"""What no evaluation without a reference can tell; for people."""


def verdicts_of(found: Evaluation) -> list[str]:
    """Say what was found: what contradicts the images first, what is fine last.

    Parameters
    ----------
    found : Evaluation
        All of it.

    Returns
    -------
    list of str
        Sentences.
    """
    doubts: list[str] = []
    fine: list[str] = []
    for grave, sentence in (
        *_about_consistency(found), *_about_likeness(found), *_about_detail(found),
        *_about_uncertainty(found), *_about_reference(found), *_about_structure(found),
    ):  # fmt: skip
        (doubts if grave else fine).append(sentence)
    return [*doubts, *fine]


Found = list[tuple[bool, str]]


def _about_consistency(found: Evaluation) -> Found:
    part = found.consistency
    if part is None:
        return []
    said: Found = []
    if found.suspects is not None and found.suspects.places:
        said.append((True, _about_places(found.suspects)))
    value = f"chi-square {part.chi_square:.2f} per pixel"
    if part.chi_square > CONSISTENT:
        how = (
            "contradicts its source" if part.chi_square > DOUBTFUL
            else "differs from its source by more than noise explains"
        )  # fmt: skip
        said.append((True, f"Degraded again, the result {how} ({value}): see the map."))
    elif part.chi_square < _COPIED:
        said.append(
            (False, f"Degraded again, the result is the source, noise included ({value}).")
        )  # fmt: skip
    else:
        said.append(
            (False, "Degraded again, the result gives the source to within its noise, as a whole "
             f"({value}).")
        )  # fmt: skip
    return said


def _about_places(suspects: Suspects) -> str:
    letters = "zyx"[-len(suspects.places[0]) :]
    where = "; ".join(
        ", ".join(f"{letter} = {i}" for letter, i in zip(letters, place, strict=True))
        for place in suspects.places[:_NAMED]
    )
    count = len(suspects.places)
    many = "one place" if count == 1 else f"{count} places"
    more = " and more" if count > _NAMED else ""
    return (
        f"In {many} the result contradicts its source far more than around: look at {where}{more} "
        "of the source. Something was added there, or lost."
    )


def _about_likeness(found: Evaluation) -> Found:
    part = found.scaled
    if part is None:
        return []
    if part.at_limit:
        return [
            (True, "No blur makes the result like its source: they hardly belong together.")
        ]  # fmt: skip
    if part.pearson < _UNLIKE:
        return [
            (True, "Even with blur, gain and offset matched, result and source differ (correlation "
             f"{part.pearson:.3f}): see the map of the resolution-scaled error. In a noisy source "
             "that is its noise.")
        ]  # fmt: skip
    return []


def _about_detail(found: Evaluation) -> Found:
    part = found.unsupported
    if part is None:
        return []
    if part.outside > 0.001:
        grave = part.outside > 0.01
        strength = "most of it" if part.share > _MADE_UP else f"{100 * part.share:.0f} % of it"
        return [
            (grave, f"In {100 * part.outside:.1f} % of its pixels the result has detail finer than "
             "the source's band that nothing in the source supports and that is stronger than the "
             f"noise ({strength} over the whole image): see the map of unsupported detail.")
        ]  # fmt: skip
    return [(False, "The source supports what the result has beyond its band, as far as can be "
             "told: no unsupported detail is stronger than the noise.")]  # fmt: skip


def _about_uncertainty(found: Evaluation) -> Found:
    part = found.uncertainty
    if part is None:
        return []
    if part.doubtful is None:
        return [(False, str(part))]
    return [(part.doubtful > _MANY, str(part))]


def _about_reference(found: Evaluation) -> Found:
    part, said = found.reference, []
    if part is not None and part.cubic is not None:
        gain = part.result.psnr - part.cubic.psnr
        if math.isfinite(gain):
            how = "closer to" if gain > 0 else "farther from"
            said.append((gain <= 0, f"The result is {abs(gain):.1f} dB {how} the reference than "
                         "cubic interpolation of the source."))  # fmt: skip
    if found.agreement is not None:
        crossing = found.agreement.crossing("0.5")
        if math.isnan(crossing.frequency):
            said.append((True, "Result and reference do not agree at any frequency."))
        elif not crossing.limited_by_sampling:
            said.append((False, f"Structure finer than {crossing.resolution:.3g} {found.unit} is "
                         "not that of the reference."))  # fmt: skip
    return said


def _about_structure(found: Evaluation) -> Found:
    part, source = found.structure, found.source_resolution
    if part is None or source is None or found.agreement is not None or math.isnan(part.cutoff):
        return []
    seen = source.crossing("1/7")
    if math.isnan(seen.frequency) or part.resolution >= _FINER * seen.resolution:
        return []
    unit = found.unit
    return [
        (False, f"The result shows structure down to {part.resolution:.3g} {unit}, the source "
         f"down to {seen.resolution:.3g} {unit}: what is finer was inferred, not seen.")
    ]  # fmt: skip
