"""How far results in files can be trusted."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_hrsr.axes import check_names
from napari_hrsr.errors import InputError, OutputError
from napari_hrsr.evaluation.evaluated import Evaluation
from napari_hrsr.evaluation.evaluating import evaluate
from napari_hrsr.evaluation.images import check_factor, whole
from napari_hrsr.evaluation.report import write_report
from napari_hrsr.evaluation.subject import Given, Subject, choose_subject
from napari_hrsr.file_results import Report
from napari_hrsr.files import check_output, read_image, write_image
from napari_hrsr.files.partial import check_folder, partial_file
from napari_hrsr.forward import ForwardModel
from napari_hrsr.metadata import ImageMetadata


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may choose; as for `evaluate`.

    Attributes
    ----------
    factor, noise, data_range, match, border
        As for `evaluate`.
    psf_sigma : float or sequence of float or None
        Blur of the instrument: standard deviation in pixels of the source, one
        number or one per axis; found if None.
    axes : str or None
        One letter per axis of the result, where the file does not say.
    at : mapping of str to int
        Which place to take on axes other than Y and X, by letter.
    uncertainty : bool
        Run the recorded model again to see how much it varies.
    in_memory : int or None
        As for `evaluate`.
    """

    factor: float | Sequence[float] | None = None
    psf_sigma: float | Sequence[float] | None = None
    noise: float | None = None
    data_range: float | Literal["reference", "dtype"] = "reference"
    match: bool = False
    border: int = 0
    axes: str | None = None
    at: Mapping[str, int] | None = None
    uncertainty: bool = False
    in_memory: int | None = None


@dataclass(frozen=True, slots=True)
class Outputs:
    """Files to write.

    Attributes
    ----------
    numbers : Path or None
        All numbers and curves, as JSON.
    report : Path or None
        A page with pictures, as HTML.
    map : Path or None
        The consistency map, as an image that lies on the source.
    overwrite : bool
        Replace existing files.
    """

    numbers: Path | None = None
    report: Path | None = None
    map: Path | None = None
    overwrite: bool = False


def evaluate_file(
    result: Path,
    *,
    source: Path | None = None,
    reference: Path | None = None,
    second: Path | None = None,
    settings: Settings | None = None,
    outputs: Outputs | None = None,
    report: Report = lambda what, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Evaluation, Subject]:
    """Evaluate a result in a file, in flat memory.

    Parameters
    ----------
    result : Path
        The result. What it records of how it was made is used.
    source : Path, optional
        What it was made of. Left out: the file of the recorded name beside it,
        if there is one.
    reference, second : Path, optional
        The truth, and the result of a second recording, on the result's grid.
    settings : Settings, optional
        What the user chose.
    outputs : Outputs, optional
        What to write.
    report, cancelled : callable
        As for `upscale_file`.

    Returns
    -------
    evaluation : Evaluation
        What was found.
    subject : Subject
        What it was found of.

    Raises
    ------
    HrsrError
        With what is wrong and what to do about it.
    """
    settings, outputs = settings or Settings(), outputs or Outputs()
    given = _opened(result, settings.axes)
    source = source or _beside(result, given.record)
    paths = [p for p in (result, source, reference, second) if p is not None]
    check_outputs(outputs, paths)
    others = {
        name: None if path is None else _opened(path, _axes_for(path, given, settings))
        for name, path in (("source", source), ("reference", reference), ("second", second))
    }
    subject = choose_subject(
        given, **others, at=_places(given, settings.at), factor=settings.factor
    )
    if outputs.map is not None:
        if others["source"] is None:
            msg = "a consistency map needs the source: name it"
            raise InputError(msg)
        where = map_metadata(subject, others["source"].metadata)
        check_output(outputs.map, where, np.float32)
    evaluation = evaluate_subject(subject, settings, report, cancelled)
    if outputs.map is not None:
        if evaluation.consistency is None:
            msg = f"there is no consistency map: {'; '.join(evaluation.notes)}"
            raise InputError(msg)
        shape = [1] * len(where.axes)
        for axis, n in zip(
            subject.source_spatial, evaluation.consistency.deviation.shape, strict=True
        ):
            shape[axis] = n
        data = np.asarray(evaluation.consistency.deviation[...], np.float32).reshape(shape)
        write_image(outputs.map, data, where, overwrite=outputs.overwrite, cancelled=cancelled)
    if outputs.numbers is not None:
        text = json.dumps(described(evaluation, subject), indent=1, ensure_ascii=False)
        with partial_file(outputs.numbers, len(text)) as file:
            file.write(text.encode())
    if outputs.report is not None:
        write_report(outputs.report, evaluation, subject, overwrite=outputs.overwrite)
    return evaluation, subject


def evaluate_subject(
    subject: Subject,
    settings: Settings,
    report: Report = lambda what, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Evaluate images that were chosen; as for `evaluate`.

    Parameters
    ----------
    subject : Subject
        The images.
    settings : Settings
        What the user chose.
    report, cancelled : callable
        As for `upscale_file`.
    """
    options = subject.arguments()
    if settings.psf_sigma is not None and subject.source is not None:
        options["forward"] = _instrument(subject, settings.psf_sigma)
    if settings.in_memory is not None:
        options["in_memory"] = settings.in_memory
    again = None
    if settings.uncertainty:
        from napari_hrsr.evaluation.rerun import uncertainty_of

        again = functools.partial(
            uncertainty_of,
            subject,
            progress=functools.partial(report, "Running the model again"),
            cancelled=cancelled,
        )
    found = evaluate(
        subject.result, **options, noise=settings.noise, data_range=settings.data_range,
        match=settings.match, border=settings.border, progress=report, cancelled=cancelled,
        uncertainty=again,
    )  # fmt: skip
    return replace(found, remarks=(*subject.said, *found.remarks))


def described(evaluation: Evaluation, subject: Subject) -> dict[str, Any]:
    """Return all numbers, and what they are of, in values that JSON can hold."""
    return {
        "software": "napari-hrsr",
        "images": subject.names,
        **evaluation.to_dict(),
        "record": subject.record,
    }


def map_metadata(subject: Subject, metadata: ImageMetadata) -> ImageMetadata:
    """Return the metadata of a map that lies on the source.

    Parameters
    ----------
    subject : Subject
        What is evaluated.
    metadata : ImageMetadata
        Of the whole source.
    """
    kept = [a for a, letter in enumerate(metadata.axes) if letter != "S"]
    scale = tuple(metadata.scale[a] for a in kept)
    start = subject.source_start
    affine = metadata.affine
    if affine is not None:
        affine = np.array(affine)
        places = [metadata.axes.find(letter) for letter in "ZYX"]
        first = [start[kept.index(a)] if a >= 0 else 0 for a in places]
        affine[:3, 3] += affine[:3, :3] @ np.array(first, float)
    return ImageMetadata(
        "".join(metadata.axes[a] for a in kept),
        scale,
        tuple(
            metadata.translate[a] + i * s for a, i, s in zip(kept, start, scale, strict=True)
        ),
        tuple(metadata.units[a] for a in kept),
        affine,
    )  # fmt: skip


def check_outputs(outputs: Outputs, inputs: Sequence[Path]) -> None:
    """Refuse files that must not be written, before any work.

    Parameters
    ----------
    outputs : Outputs
        What is to be written.
    inputs : sequence of Path
        What is read.

    Raises
    ------
    OutputError
        With the reason.
    """
    for path in (outputs.numbers, outputs.report, outputs.map):
        if path is None:
            continue
        check_folder(path.absolute().parent)
        if not path.exists():
            continue
        if any(path.samefile(other) for other in inputs if other.exists()):
            msg = f"{path.name} is one of the images: choose another name"
            raise OutputError(msg)
        if not outputs.overwrite:
            msg = f"{path.name} exists: choose another name, or allow it to be overwritten"
            raise OutputError(msg)


def _opened(path: Path, axes: str | None) -> Given:
    image = read_image(path)
    metadata = image.metadata
    if axes is not None:
        metadata = metadata.with_axes(check_names(axes, image.data.ndim))
    elif image.record is not None and len(image.record.get("axes", "")) == image.data.ndim:
        metadata = metadata.with_axes(image.record["axes"])
    return Given(image.data, metadata, image.record, image.name)


def _axes_for(path: Path, result: Given, settings: Settings) -> str | None:
    """Name the axes of another image as the result's, where they are as many."""
    ndim = read_image(path).data.ndim
    names = settings.axes or ((result.record or {}).get("axes") and result.metadata.axes)
    return names if names and len(names) == ndim else None


def _beside(result: Path, record: dict[str, Any] | None) -> Path | None:
    """Return the recorded source if it lies beside the result."""
    name = (record or {}).get("source")
    # A record is read from a file: its name must not lead anywhere else.
    if not isinstance(name, str) or not name or Path(name).name != name:
        return None
    path = result.absolute().parent / name
    return path if path.exists() and not path.samefile(result) else None


def _places(given: Given, wanted: Mapping[str, int] | None) -> dict[int, int]:
    places = {}
    for letter, index in (wanted or {}).items():
        axis = given.metadata.axes.find(letter.upper())
        if axis < 0:
            msg = f"the result has no axis {letter!r}: its axes are {given.metadata.axes}"
            raise InputError(msg)
        places[axis] = index
    return places


def _instrument(subject: Subject, sigma: float | Sequence[float]) -> ForwardModel:
    assert subject.source is not None
    colours = 1 if subject.rgb else 0
    fine = subject.result.shape[: len(subject.result.shape) - colours]
    coarse = subject.source.shape[: len(subject.source.shape) - colours]
    factors = whole(check_factor(fine, coarse, subject.factor))
    widths = (float(sigma),) * len(fine) if isinstance(sigma, int | float) else tuple(sigma)
    if len(widths) != len(fine):
        msg = f"psf_sigma must hold one number, or {len(fine)}, one an axis; got {sigma!r}"
        raise InputError(msg)
    return ForwardModel(
        factors, psf_sigma=tuple(w * k for w, k in zip(widths, factors, strict=True))
    )
