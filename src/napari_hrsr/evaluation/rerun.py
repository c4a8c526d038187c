"""The recorded model of a result, run again to see how much it varies."""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_hrsr.errors import InputError, ModelError
from napari_hrsr.evaluation.calibration import weights_of
from napari_hrsr.evaluation.evaluating import IN_MEMORY
from napari_hrsr.evaluation.subject import Part, Subject
from napari_hrsr.evaluation.uncertainty import Uncertainty, measure_uncertainty
from napari_hrsr.intensity import intensity_from_summary
from napari_hrsr.models.load import load_model
from napari_hrsr.models.spec import Upscaler


def uncertainty_of(
    subject: Subject,
    *,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Uncertainty:
    """Measure how much the model of a result varies, as it was run.

    Parameters
    ----------
    subject : Subject
        With a record and a source.
    progress, cancelled : callable
        As for `measure_uncertainty`.

    Returns
    -------
    Uncertainty
        Its maps have the spatial axes of the result; of colours the largest.

    Raises
    ------
    InputError
        If there is no source, or the record is not complete.
    ModelError
        If no model is recorded, or it is not here.
    """
    record, origin = subject.record, subject.origin
    model = _recorded_model(record)
    if origin is None or record is None:
        msg = "the model is run on the source again: name the source"
        raise InputError(msg)
    try:
        intensity = intensity_from_summary(record["intensity"])
        axes = str(record["axes"])
    except (KeyError, TypeError, ValueError) as error:
        msg = f"the record of the result is not complete ({type(error).__name__}: {error})"
        raise InputError(msg) from error
    held = math.prod(subject.result.shape) <= IN_MEMORY
    folder = None if held else tempfile.mkdtemp(prefix="napari-hrsr-")
    try:
        found = measure_uncertainty(
            origin.data,
            model,
            axes=axes,
            intensity=intensity,
            region=subject.region,
            out=None if folder is None else Path(folder) / "maps",
            progress=progress,
            cancelled=cancelled,
        )
    except BaseException:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    maps = [_spatial(each, axes, subject) for each in (found.spread, found.half_width)]
    if folder is not None:
        # The one that is shown lives longest.
        shown = found.spread if found.half_width is None else found.half_width
        weakref.finalize(shown, shutil.rmtree, folder, ignore_errors=True)
    return replace(found, spread=maps[0], half_width=maps[1])


def _recorded_model(record: dict[str, Any] | None) -> Upscaler:
    if record is None or not isinstance(record.get("model"), str):
        msg = (
            "the result holds no record of a model that could be run again: only what the images "
            "tell was evaluated"
        )
        raise ModelError(msg)
    if record.get("task"):
        msg = f"the result was made by another task ({record['task']}), whose model is its own"
        raise ModelError(msg)
    model = load_model(record["model"])
    parts = record.get("chain") or [record]
    recorded = tuple(part.get("weights_sha256") or "" for part in parts)
    if weights_of(model.spec.parts or (model.spec,)) != recorded:
        msg = f"the weights of model {record['model']!r} are not those that made the result"
        raise ModelError(msg)
    return model


def _spatial(found: Any, axes: str, subject: Subject) -> Any:
    """Return a map without axes of which one place was taken, and without colours."""
    if found is None:
        return None
    colours_last = [a for a, letter in enumerate(axes) if letter != "S"]
    spatial = {colours_last[a] for a in subject.source_spatial}
    fixed = {a: 0 for a in colours_last if a not in spatial}
    part = Part(found, axes, fixed)
    if "S" not in axes:
        return part
    return np.asarray(part)[..., :3].max(-1)
