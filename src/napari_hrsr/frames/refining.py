"""Shifts improved jointly with the fine image.

Frames alias: what one shows of fine detail depends on where its pixels lie, so
no comparison of two frames is exact. The fine image predicts what every frame
should show, and says how its prediction changes when the frame moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from napari_hrsr.frames.motions import Motion
from napari_hrsr.frames.reconstructing import ROBUST, Recorded, reconstruct
from napari_hrsr.frames.scene import Scene, View, record_view
from napari_hrsr.frames.turning import stepped, turned_columns

LARGEST_STEP = 0.3
"""Pixels that one step of Gauss and Newton may move a frame."""


def refine_motions(
    scene: Scene,
    view: View,
    noise: float,
    strength: float,
    start: Tensor,
    *,
    turning: str = "translation",
    passes: int = 2,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[tuple[Motion, ...], Tensor]:
    """Move all frames but the reference to where the fine image fits them best.

    Steps of Gauss and Newton for every frame, in turn with the fine image
    (Hardie, Barnard and Armstrong 1997).

    Parameters
    ----------
    scene : Scene
        The frames.
    view : View
        The window that is looked at.
    noise, strength, start
        As for `reconstruct`.
    turning : {"translation", "rigid", "affine"}
        What is improved.
    passes : int
        How often.
    cancelled : callable
        Polled.

    Returns
    -------
    motions : tuple of Motion
        Improved.
    image : Tensor
        The fine image.
    """
    motions, image = scene.motions, start
    for _ in range(passes):
        recorded = record_view(scene, view, noise, motions=motions, device=start.device)
        image = reconstruct(recorded, strength, image, rounds=2, cancelled=cancelled)
        for _ in range(2):
            motions = _stepped(recorded, motions, image, scene.model.factor, view, turning)
            recorded = record_view(scene, view, noise, motions=motions, device=start.device)
    return motions, image


def misfit(recorded: Recorded, image: Tensor, frames: Sequence[int]) -> float:
    """Return the mean squared error of a prediction of some frames, over the noise's variance.

    Pixels that fit nowhere count as much as one at the limit.

    Parameters
    ----------
    recorded : Recorded
        What they show.
    image : Tensor
        The fine image.
    frames : sequence of int
        Which.
    """
    chosen = torch.tensor(list(frames), device=image.device)
    residual = (recorded.frames.apply(image) - recorded.values)[chosen] / recorded.noise
    weights = recorded.weights[chosen]
    capped = residual.square().clamp_max((2 * ROBUST) ** 2)
    return float((weights * capped).sum() / weights.sum().clamp_min(1.0))


def _stepped(
    recorded: Recorded,
    motions: Sequence[Motion],
    image: Tensor,
    factor: Sequence[int],
    view: View,
    turning: str,
) -> tuple[Motion, ...]:
    """Take one step for every frame but the first."""
    frames, noise = recorded.frames, recorded.noise
    residual = (recorded.values - frames.apply(image)).cpu().numpy()
    weights = recorded.weights.cpu().numpy()
    weights = weights / np.maximum(1.0, np.abs(residual) / (ROBUST * noise))
    slopes = [
        frames.apply(slope * k).cpu().numpy()
        for slope, k in zip(torch.gradient(image), factor, strict=True)
    ]
    pixels = np.stack(np.meshgrid(*map(np.arange, view.shape), indexing="ij"), -1)
    result = [motions[0]]
    for k, motion in enumerate(motions[1:], 1):
        # What the frame shows moves along with it: a step changes it by -slope * step.
        moved = [-s[k] for s in slopes]
        away = pixels + np.array(view.start) + view.offsets[k] - motion.shift - motion.centre
        columns = [*moved, *turned_columns(moved, away, turning)]
        matrix = np.stack([c.ravel() for c in columns], 1).astype(np.float64)
        w = weights[k].ravel()
        size = np.sqrt(w @ matrix**2) + 1e-12
        scaled = matrix / size
        normal = scaled.T @ (w[:, None] * scaled) + 1e-6 * np.eye(len(size))
        step = np.linalg.solve(normal, scaled.T @ (w * residual[k].ravel())) / size
        result.append(stepped(motion, step, turning, LARGEST_STEP))
    return tuple(result)
