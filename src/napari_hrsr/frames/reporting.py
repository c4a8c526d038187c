"""What is said of a fusion: to people, and in its record."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import torch

import napari_hrsr
from napari_hrsr.frames.jobs import FusionJob
from napari_hrsr.frames.preparing import Prepared


def explain(job: FusionJob, prepared: Prepared, moving: float) -> str:
    """Say what to know of a result, in a few sentences.

    Parameters
    ----------
    job : FusionJob
        The run.
    prepared : Prepared
        What was found out.
    moving : float
        Part of the frame in which not all frames were used.
    """
    parts = [prepared.phases.describe()]
    left = prepared.selection.left_out
    if left:
        named = "; ".join(f"{job.stack.names[k]} {why}" for k, why in left.items())
        parts.append(f"Left out: {named}.")
    if job.wishes.reference is None and prepared.selection.reference:
        name = job.stack.names[prepared.selection.reference]
        parts.append(f"The first frame fits few others, so the result lies on {name}.")
    if moving > 0.0005:
        parts.append(
            f"In {100 * moving:.1f} % of the frame something moved or changed: there the frames "
            "that disagree with the reference were not used."
        )
    return " ".join(parts)


def describe_fusion(job: FusionJob, prepared: Prepared, name: str = "") -> dict[str, Any]:
    """Record how a result is made, in values that JSON can hold.

    Parameters
    ----------
    job : FusionJob
        The run.
    prepared : Prepared
        What was found out.
    name : str
        Of the source.
    """
    scene, wishes = prepared.scene, job.wishes
    return {
        "software": "napari-hrsr",
        "version": napari_hrsr.__version__,
        "operation": "fuse",
        "source": name,
        "frames": len(job.stack),
        "frame_shape": list(job.stack.shape),
        "axes": job.stack.axes,
        "factor": list(job.factor),
        "method": prepared.recipe.method,
        "method_asked_for": wishes.method,
        "transform": wishes.transform,
        "reference": prepared.selection.reference,
        "kept": list(scene.kept),
        "left_out": {str(k): why for k, why in prepared.selection.left_out.items()},
        "shifts": np.round(scene.shifts, 5).tolist(),
        "matrices": [np.round(m.matrix, 8).tolist() for m in scene.motions]
        if not all(m.is_translation for m in scene.motions)
        else None,
        "brightness": [
            [[b.gain, b.offset] for b in all_of] for all_of in scene.brightness.values()
        ],
        "phases": np.round(prepared.phases.fractions, 5).tolist(),
        "adds_resolution": list(prepared.phases.adds),
        "strength": prepared.recipe.strength or None,
        "held_out": None
        if prepared.choice is None
        else {
            "frames": [scene.kept[k] for k in prepared.choice.held],
            "tried": [list(pair) for pair in prepared.choice.tried],
        },
        "noise": [level.noise * level.span for level in scene.levels.values()],
        "psf_sigma": list(wishes.model.psf_sigma),
        "psf_shape": None
        if wishes.model.point_spread is None
        else list(wishes.model.point_spread.kernel.shape),
        "dtype": str(job.dtype),
        "tile": list(job.plan.tile),
        "device": wishes.device.type,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
