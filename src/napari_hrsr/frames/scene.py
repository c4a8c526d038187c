"""All that is known of the frames before tiles are computed, and how a window is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_hrsr.forward import ForwardModel
from napari_hrsr.frames.brightness import Brightness, Level
from napari_hrsr.frames.motions import Motion
from napari_hrsr.frames.reconstructing import Recorded
from napari_hrsr.frames.sampling import LOBES, Frames, TranslatedFrames
from napari_hrsr.frames.stack import FrameStack
from napari_hrsr.frames.warping import WarpedFrames

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Frames that fit, and how they see the scene.

    Attributes
    ----------
    stack : FrameStack
        All frames.
    kept : tuple of int
        The frames that are fused; the first is the reference.
    motions : tuple of Motion
        Of the kept ones.
    brightness : dict
        `Brightness` of the kept ones, by index along the axes that are not space.
    model : ForwardModel
        What a frame records of the fine image.
    levels : dict
        `Level` likewise.
    """

    stack: FrameStack
    kept: tuple[int, ...]
    motions: tuple[Motion, ...]
    brightness: dict[tuple[int, ...], tuple[Brightness, ...]]
    model: ForwardModel
    levels: dict[tuple[int, ...], Level]

    @property
    def shifts(self) -> NDArray[np.float64]:
        """Shifts of the kept frames at the centre, shape (frames, axes)."""
        centre = (np.array(self.stack.extent) - 1) / 2
        return np.stack([m.to_frame(centre) - centre for m in self.motions])


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A window of all frames, read.

    Attributes
    ----------
    start, shape : tuple of int
        Of the window in the reference; it may leave the frame.
    offsets : ndarray, shape (frames, axes)
        First pixels of the windows of the frames less `start`.
    values, inside : ndarray, shape (frames, *window)
        Pixels over the range; 1 inside of a frame and 0 outside.
    """

    start: tuple[int, ...]
    shape: tuple[int, ...]
    offsets: NDArray[np.int64]
    values: Floats
    inside: Floats


def look(scene: Scene, index: tuple[int, ...], start: Sequence[int], shape: Sequence[int]) -> View:
    """Read a window of all frames, each where it shows the same part of the scene.

    Parameters
    ----------
    scene : Scene
        The frames.
    index : tuple of int
        Along the axes that are not space.
    start, shape : sequence of int
        Of the window in the reference.
    """
    level = scene.levels[index]
    centre = np.array(start) + (np.array(shape) - 1) / 2
    offsets = np.stack([np.rint(m.to_frame(centre) - centre) for m in scene.motions]).astype(int)
    values, inside = [], []
    for frame, offset, bright in zip(scene.kept, offsets, scene.brightness[index], strict=True):
        first = [s + int(o) for s, o in zip(start, offset, strict=True)]
        block, mask = scene.stack.read_around(frame, index, first, shape)
        block = (block - bright.offset) / bright.gain
        values.append((block - level.low) / level.span * mask)
        inside.append(mask)
    return View(tuple(start), tuple(shape), offsets, np.stack(values), np.stack(inside))


def record_view(
    scene: Scene,
    view: View,
    noise: float,
    *,
    motions: Sequence[Motion] | None = None,
    device: torch.device | str = "cpu",
) -> Recorded:
    """Return what the frames show of a window, for `reconstruct`.

    Parameters
    ----------
    scene : Scene
        The frames.
    view : View
        From `look`.
    noise : float
        Over the range.
    motions : sequence of Motion, optional
        In place of the scene's.
    device : torch.device or str
        Where to compute.
    """
    motions = scene.motions if motions is None else motions
    moved = np.stack([m.shift for m in motions]) - view.offsets
    frames: Frames
    if all(m.is_translation for m in motions):
        frames = TranslatedFrames.of(scene.model, view.shape, moved, device)
    else:
        frames = WarpedFrames.of(scene.model, view.shape, view.start, motions, view.offsets)
    weights = view.inside * sees_window(scene.model, view, motions)
    return Recorded(
        frames,
        torch.from_numpy(view.values).to(device),
        torch.from_numpy(weights.astype(np.float32)).to(device),
        noise,
    )


def sees_window(model: ForwardModel, view: View, motions: Sequence[Motion]) -> NDArray[np.bool_]:
    """Tell which pixels of the frames collect nothing from beyond the window.

    Parameters
    ----------
    model : ForwardModel
        The instrument.
    view : View
        The window.
    motions : sequence of Motion
        Of the frames.
    """
    start, shape = np.array(view.start), np.array(view.shape)
    reach = [
        (max(-k.origin, k.origin + len(k.taps) - f) + f / 2 + LOBES) / f
        for k, f in zip(model.kernels, model.factor, strict=True)
    ]
    if model.point_spread is not None:
        sides = model.point_spread.kernel.shape
        for axis, side in zip(range(len(shape) - len(sides), len(shape)), sides, strict=True):
            reach[axis] += side // 2 / model.factor[axis]
    seen = np.ones((len(motions), *shape), bool)
    for mask, motion, offset in zip(seen, motions, view.offsets, strict=True):
        if motion.is_translation:
            for axis, n in enumerate(shape):
                at = np.arange(n) - (motion.shift - offset)[axis]
                good = (at >= reach[axis] - 0.5) & (at <= n - 0.5 - reach[axis])
                mask &= good.reshape([-1 if a == axis else 1 for a in range(len(shape))])
            continue
        pixels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
        at = motion.to_reference(pixels + start + offset) - start
        mask &= ((at >= np.array(reach) - 0.5) & (at <= shape - 0.5 - np.array(reach))).all(-1)
    return seen


def margin(model: ForwardModel) -> tuple[int, ...]:
    """Return how many pixels at the border of a window no frame may be used in, per axis."""
    spread = model.point_spread
    sides = (
        (1,) * model.ndim
        if spread is None
        else (1,) * (model.ndim - spread.ndim) + spread.kernel.shape
    )
    return tuple(
        int(np.ceil((len(k.taps) + LOBES + side // 2) / f)) + 1
        for k, f, side in zip(model.kernels, model.factor, sides, strict=True)
    )
