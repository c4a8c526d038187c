"""From frames to a `Scene`: which fit, where they lie, how smooth the result shall be."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from napari_hrsr.errors import CancelledError
from napari_hrsr.forward import ForwardModel
from napari_hrsr.frames.baselines import average
from napari_hrsr.frames.brightness import Level, fit_brightness
from napari_hrsr.frames.motions import Motion, translation
from napari_hrsr.frames.phases import Phases, sampling_phases
from napari_hrsr.frames.reconstructing import Recorded, reconstruct
from napari_hrsr.frames.refining import misfit, refine_motions
from napari_hrsr.frames.registering import band, shift_errors
from napari_hrsr.frames.scene import Scene, View, look, record_view
from napari_hrsr.frames.selecting import Selection, select_frames
from napari_hrsr.frames.stack import FrameStack
from napari_hrsr.frames.strength import FIRST, Choice, choose_strength, held_out
from napari_hrsr.frames.tiles import Recipe, surround
from napari_hrsr.noise_level import estimate_noise

Floats = NDArray[np.float64]
Report = Callable[[str, int, int], None]

REGISTERING, CHOOSING = "Registering", "Choosing"

PIECE = {2: (512, 512), 3: (48, 160, 160)}
"""Largest part of the frames that is laid over the reference."""

PILOT = {2: (128, 128), 3: (16, 40, 40)}
"""Part on which shifts are refined and the strength is chosen."""

LEAST_NOISE = 0.002
"""Noise, over the range, below which the forward model is what is wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class Wishes:
    """What somebody wants of frames.

    Attributes
    ----------
    model : ForwardModel
        What a frame records of the fine image.
    reference : int or None
        The frame whose grid the result has.
    motions : tuple of Motion or None
        Of all frames against the reference, where they are known.
    refine : bool
        Whether motions are improved on.
    transform : {"translation", "rigid", "affine"}
        How frames may lie on each other.
    noise : float or None
        Standard deviation in the units of the frames; measured if None.
    method : str
        See `tiles.METHODS`.
    motion : bool
        Whether parts that move fall back to the reference.
    strength : float or None
        Chosen by held-out frames if None.
    device : torch.device
        Where to compute.
    """

    model: ForwardModel
    reference: int | None
    motions: tuple[Motion, ...] | None
    refine: bool
    transform: str
    noise: float | None
    method: str
    motion: bool
    strength: float | None
    device: torch.device


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What was found out before tiles are computed.

    Attributes
    ----------
    scene : Scene
        The frames that fit.
    selection : Selection
        And those that do not.
    phases : Phases
        Of the frames that fit.
    choice : Choice or None
        Of the strength.
    recipe : Recipe
        How tiles are computed.
    """

    scene: Scene
    selection: Selection
    phases: Phases
    choice: Choice | None
    recipe: Recipe


def prepare(
    stack: FrameStack,
    wishes: Wishes,
    report: Report = lambda what, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Prepared:
    """Register frames, leave out what does not fit, and choose the strength.

    Parameters
    ----------
    stack : FrameStack
        The frames.
    wishes : Wishes
        What is wanted.
    report : callable
        Called with what is being done, and how much of it is done.
    cancelled : callable
        Polled between frames, and between steps.

    Raises
    ------
    InputError
        If no frame fits another.
    CancelledError
        If `cancelled` returned True.
    """

    def step(done: int) -> None:
        report(REGISTERING, min(done, len(stack) - 1), len(stack) - 1)
        if cancelled():
            msg = "cancelled while registering frames"
            raise CancelledError(msg)

    first = wishes.reference or 0
    window = _busiest(stack, first)
    pieces = []
    for k in range(len(stack)):
        pieces.append(_grey(stack, k, window))
        step(0)
    grey = measure_level(pieces, first, None)
    pieces = [(p - grey.low) / grey.span for p in pieces]
    corner = np.array([w.start for w in window])
    known = None
    if wishes.motions is not None:
        known = [replace(m, centre=m.centre - corner) for m in wishes.motions]
    selection = select_frames(
        pieces,
        grey.noise,
        reference=wishes.reference,
        motions=known,
        transform=wishes.transform,
        step=step,
    )
    kept = (
        selection.reference,
        *(k for k in selection.found if k not in selection.left_out),
    )
    motions = _motions(selection, kept, wishes, corner)
    scene = Scene(stack, kept, motions, {}, wishes.model, {})
    for index in np.ndindex(stack.looped):
        planes = [stack.read(k, index, window).astype(float) for k in kept]
        level = measure_level(planes, 0, wishes.noise)
        scene.levels[index] = level
        scene.brightness[index] = tuple(
            fit_brightness(planes[0], plane, m, level)
            for plane, m in zip(planes, motions, strict=True)
        )
    errors = shift_errors(pieces[kept[0]], grey.noise).tolist()
    if wishes.motions is not None and not wishes.refine:
        errors = []
    phases = sampling_phases(scene.shifts, errors)
    if wishes.method != "robust" or not any(phases.adds):
        method = wishes.method if any(phases.adds) else "average"
        recipe = Recipe(method, 0.0, False, wishes.device)
        return Prepared(scene, selection, phases, None, recipe)
    scene, choice = _tuned(scene, wishes, pieces[kept[0]], window, report, cancelled)
    phases = sampling_phases(scene.shifts, errors)
    strength = choice.strength if choice is not None else wishes.strength
    assert strength is not None
    recipe = Recipe("robust", strength, wishes.motion, wishes.device)
    return Prepared(scene, selection, phases, choice, recipe)


def measure_level(planes: Sequence[Floats], reference: int, noise: float | None) -> Level:
    """Measure range and noise.

    Parameters
    ----------
    planes : sequence of ndarray
        The same part of several frames.
    reference : int
        Whose range counts.
    noise : float, optional
        Where it is known.
    """
    low, high = np.percentile(planes[reference], (0.1, 99.9))
    span = float(high - low) or 1.0
    if noise is None:
        levels = []
        for plane in planes[:4]:
            flat = plane if plane.ndim == 2 else plane[len(plane) // 2]
            levels.append(estimate_noise(flat))
        noise = float(np.median(levels))
    return Level(float(low), span, max(noise / span, LEAST_NOISE))


def _motions(
    selection: Selection, kept: Sequence[int], wishes: Wishes, corner: NDArray[np.int64]
) -> tuple[Motion, ...]:
    """Return the motion of every kept frame; the first stays where it is."""
    if wishes.motions is not None:
        return tuple(wishes.motions[k] for k in kept)
    found = (selection.found[k].motion for k in kept[1:])
    still = translation(np.zeros(wishes.model.ndim))
    return (still, *(replace(m, centre=m.centre + corner) for m in found))


def _tuned(
    scene: Scene,
    wishes: Wishes,
    reference: Floats,
    window: Sequence[slice],
    report: Report,
    cancelled: Callable[[], bool],
) -> tuple[Scene, Choice | None]:
    """Refine the motions and choose the strength on a pilot window."""
    total = 12
    report(CHOOSING, 0, total)
    index = tuple(0 for _ in scene.stack.looped)
    noise = scene.levels[index].noise
    view = _pilot(scene, index, reference, window)
    image = torch.from_numpy(
        average(
            view.values, view.inside, scene.motions, view.start, view.offsets, scene.model.factor
        )
    ).to(wishes.device)
    first = wishes.strength or FIRST * (noise / 0.01) ** 0.5
    if wishes.refine:
        motions, refined = refine_motions(
            scene, view, noise, first, image, turning=wishes.transform, cancelled=cancelled
        )
        moved = replace(scene, motions=motions)
        report(CHOOSING, 2, total)
        if _predicts_better(scene, moved, view, noise, first, image, refined, cancelled):
            scene, image = moved, refined
        report(CHOOSING, 4, total)
    if wishes.strength is not None:
        return scene, None
    choice = choose_strength(
        record_view(scene, view, noise, device=wishes.device),
        image,
        first=first,
        step=lambda done: report(CHOOSING, min(4 + done, total), total),
        cancelled=cancelled,
    )
    report(CHOOSING, total, total)
    return scene, choice


def _predicts_better(
    old: Scene,
    new: Scene,
    view: View,
    noise: float,
    strength: float,
    image: torch.Tensor,
    refined: torch.Tensor,
    cancelled: Callable[[], bool],
) -> bool:
    """Tell whether held-out frames are predicted better with new motions."""
    held = held_out(len(old.kept))
    errors = []
    for scene, start in ((old, image), (new, refined)):
        recorded = record_view(scene, view, noise, device=image.device)
        weights = recorded.weights.clone()
        weights[torch.tensor(held)] = 0
        seen = Recorded(recorded.frames, recorded.values, weights, noise)
        fine = reconstruct(seen, strength, start, rounds=2, cancelled=cancelled)
        errors.append(misfit(recorded, fine, held))
    return errors[1] < errors[0]


def _pilot(
    scene: Scene, index: tuple[int, ...], reference: Floats, window: Sequence[slice]
) -> View:
    """Read the part of the piece with the most to see."""
    size = [min(n, p) for n, p in zip(reference.shape, PILOT[reference.ndim], strict=True)]
    busy = uniform_filter(np.square(band(reference)), size, mode="constant")
    inner = tuple(
        slice(n // 2, m - (n - n // 2) + 1) for n, m in zip(size, reference.shape, strict=True)
    )
    at = np.unravel_index(int(np.argmax(busy[inner])), busy[inner].shape)
    first = [w.start + int(a) for w, a in zip(window, at, strict=True)]
    stop = [a + n for a, n in zip(first, size, strict=True)]
    return look(scene, index, *surround(scene, first, stop))


def _busiest(stack: FrameStack, frame: int) -> tuple[slice, ...]:
    """Return the window with the most to see: the middle, or that of a quarter."""
    longest = PIECE[len(stack.extent)]
    middle = tuple(_middle(0, n, m) for n, m in zip(stack.extent, longest, strict=True))
    if all(n <= m for n, m in zip(stack.extent, longest, strict=True)):
        return middle
    halves = [
        [_middle(0, n // 2, m), _middle(n // 2, n, m)] if n > m else [slice(0, n)]
        for n, m in zip(stack.extent, longest, strict=True)
    ]
    windows = [middle, *itertools.product(*halves)]
    return max(windows, key=lambda w: float(band(_grey(stack, frame, w)).std()))


def _middle(start: int, stop: int, longest: int) -> slice:
    spare = max(0, stop - start - longest)
    return slice(start + spare // 2, stop - (spare - spare // 2))


def _grey(stack: FrameStack, frame: int, window: Sequence[slice]) -> Floats:
    """Read a window of a frame, its first channels averaged."""
    channels = list(itertools.islice(np.ndindex(stack.looped), 4))
    blocks = [stack.read(frame, index, window) for index in channels]
    return np.asarray(np.mean(blocks, axis=0, dtype=np.float64))
