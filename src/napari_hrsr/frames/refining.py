"""Shifts improved jointly with the fine image.

Frames alias: what one shows of fine detail depends on where its pixels lie, so
no comparison of two frames is exact. The fine image predicts what every frame
should show, and says how its prediction changes when the frame moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_hrsr.frames.motions import Motion
from napari_hrsr.frames.reconstructing import ROBUST, Recorded, reconstruct
from napari_hrsr.frames.scene import Scene, View, record_view

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
    ndim = image.ndim
    pixels = np.stack(np.meshgrid(*map(np.arange, view.shape), indexing="ij"), 0)
    result = [motions[0]]
    for k in range(1, len(motions)):
        motion = motions[k]
        # What the frame shows moves along with it: a step s changes it by -slope * s.
        columns = [-slopes[a][k] for a in range(ndim)]
        modes = _modes(turning, ndim)
        away = [
            pixels[a] + view.start[a] + view.offsets[k, a] - motion.shift[a] - motion.centre[a]
            for a in range(ndim)
        ]
        columns += [
            sum(
                -slopes[a][k] * away[b] * m[a, b]
                for a in range(ndim)
                for b in range(ndim)
                if m[a, b]
            )
            for m in modes
        ]
        matrix = np.stack([c.ravel() for c in columns], 1).astype(np.float64)
        w = weights[k].ravel()[:, None]
        size = np.sqrt((w * matrix**2).sum(0)) + 1e-12
        scaled = matrix / size
        normal = scaled.T @ (w * scaled) + 1e-6 * np.eye(len(size))
        step = np.linalg.solve(normal, scaled.T @ (w[:, 0] * residual[k].ravel())) / size
        moved = np.clip(step[:ndim], -LARGEST_STEP, LARGEST_STEP)
        linear = motion.matrix + sum(
            (s * m for s, m in zip(step[ndim:], modes, strict=True)), np.zeros((ndim, ndim))
        )
        if turning == "rigid":
            left, _, right = np.linalg.svd(linear)
            linear = left @ right
        result.append(Motion(motion.shift + moved, linear, motion.centre))
    return tuple(result)


def _modes(turning: str, ndim: int) -> list[NDArray[np.float64]]:
    """Return the matrices that a motion's own may be changed by."""
    if turning == "translation":
        return []
    modes = []
    for a in range(ndim):
        for b in range(ndim):
            one = np.zeros((ndim, ndim))
            one[a, b] = 1
            if turning == "affine":
                modes.append(one)
            elif a < b:
                modes.append(one - one.T)
    return modes
