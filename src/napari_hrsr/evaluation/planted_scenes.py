"""Made-up scenes of which everything is known: one object in each cell of a lattice."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.evaluation.images import Image, check_image
from napari_hrsr.forward import ForwardModel
from napari_hrsr.intensity import measure_intensity
from napari_hrsr.jobs import plan_job, start_job
from napari_hrsr.models.load import load_model
from napari_hrsr.models.spec import Upscaler

CELL = 16
"""Side of a cell, in pixels of the source."""

POINT = 0.6
"""Standard deviation with which a point is rendered, in pixels of the result."""

_PSF = 0.4
"""Standard deviation of the default point spread function, in pixels of the source."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A lattice of cells, on the grid of the result.

    Attributes
    ----------
    truth : ndarray
        Background and objects.
    background : ndarray
        The same without the objects.
    centres : ndarray
        Shape (cells, ndim), middle of each object in pixels of the source.
    factor : tuple of int
        Pixels of the result in one of the source.
    """

    truth: Image
    background: Image
    centres: Image
    factor: tuple[int, ...]

    def cell(self, image: Image, number: int) -> tuple[Image, tuple[Image, ...]]:
        """Cut a cell out, with the place of its pixels from the object's middle.

        Parameters
        ----------
        image : ndarray
            Shape of `truth`.
        number : int
            Of the cell.

        Returns
        -------
        ndarray, tuple of ndarray
            The cell, and per axis the distances in pixels of the source, shaped
            to broadcast.
        """
        first, apart = [], []
        ndim = len(self.factor)
        for axis, k in enumerate(self.factor):
            start = int(self.centres[number, axis] // CELL) * CELL * k
            along = (np.arange(start, start + CELL * k) + 0.5) / k - self.centres[number, axis]
            first.append(slice(start, start + CELL * k))
            apart.append(along.reshape([-1 if a == axis else 1 for a in range(ndim)]))
        return image[tuple(first)], tuple(apart)


def default_instrument(factor: Sequence[int]) -> ForwardModel:
    """Return a camera behind a mild blur, along the axes that are refined."""
    blur = tuple(_PSF * k if k > 1 else 0.0 for k in factor)
    return ForwardModel(tuple(factor), psf_sigma=blur)


def lay_out(
    count: int,
    factor: tuple[int, ...],
    background: Any,
    rng: np.random.Generator,
) -> Scene:
    """Make the cells, without objects.

    Parameters
    ----------
    count : int
        Number of cells.
    factor : tuple of int
        Pixels of the result in one of the source, per axis.
    background : array-like or None
        On the grid of the result; continued as in a mirror. None for 0.
    rng : Generator
        Where in its cell each object lies.

    Raises
    ------
    InputError
        If the background is no image of as many axes.
    """
    ndim = len(factor)
    side = math.ceil(count ** (1 / ndim))
    lattice = [side] * ndim
    # The last layers of a lattice may be empty: they would only take time.
    lattice[0] = math.ceil(count / side ** (ndim - 1))
    shape = [n * CELL * k for n, k in zip(lattice, factor, strict=True)]
    corners = np.stack(np.unravel_index(np.arange(count), lattice), axis=1) * float(CELL)
    centres = corners + CELL / 2 + rng.uniform(-1, 1, corners.shape)
    empty = np.zeros(shape) if background is None else _spread(background, shape)
    return Scene(empty.copy(), empty, centres, tuple(factor))


def _spread(background: Any, shape: Sequence[int]) -> Image:
    values = check_image(background, "background")
    if values.ndim != len(shape):
        msg = f"the background has {values.ndim} axes, but the model {len(shape)}"
        raise InputError(msg)
    short = [(0, max(0, n - m)) for n, m in zip(shape, values.shape, strict=True)]
    return np.asarray(np.pad(values, short, mode="symmetric")[tuple(slice(n) for n in shape)])


def point(scene: Scene, number: int, away: Image, height: float) -> None:
    """Add a point to a cell, `away` from its middle in pixels of the source."""
    cell, apart = scene.cell(scene.truth, number)
    shape = np.full((1,) * cell.ndim, height)
    for along, k, shift in zip(apart, scene.factor, away, strict=True):
        shape = shape * np.exp(-0.5 * ((along - shift) * k / POINT) ** 2)
    cell += shape


def disc(scene: Scene, number: int, width: float, height: float) -> None:
    """Add a disc or ball with soft edges to a cell; its width in pixels of the source."""
    cell, apart = scene.cell(scene.truth, number)
    radius = np.sqrt(sum((a**2 for a in apart), np.zeros((1,) * cell.ndim)))
    cell += height / (1 + np.exp((radius - width / 2) / _SOFT))


_SOFT = 0.15
"""Softness of a disc's edge, in pixels of the source."""


def as_upscaler(model: str | Upscaler) -> Upscaler:
    """Return a model that can be run."""
    return model if isinstance(model, Upscaler) else load_model(model)


def record(
    scene: Scene, forward: ForwardModel, noise: float, channels: int, rng: np.random.Generator
) -> np.ndarray:
    """Degrade a scene as the instrument does.

    Returns
    -------
    ndarray
        float32, shape of the source, with colours a last axis of 3 equal
        samples with noise of their own.
    """
    coarse = forward.apply(torch.from_numpy(scene.truth)).numpy()
    if channels > 1:
        coarse = np.repeat(coarse[..., None], channels, axis=-1)
    return np.asarray(coarse + rng.normal(0, noise, coarse.shape), dtype=np.float32)


def run(model: Upscaler, source: np.ndarray, check: Callable[[], None]) -> Image:
    """Upscale a source as any other image is; colours are averaged.

    Raises
    ------
    HrsrError
        As the engine does.
    """
    spec = model.spec
    names = "ZYX"[-spec.ndim :] + ("S" if source.ndim > spec.ndim else "")
    if "S" in names and spec.channels == 1:
        source, names = source[..., 0], names[:-1]

    def stopped() -> bool:
        try:
            check()
        except CancelledError:
            return True
        return False

    job = plan_job(source, model, axes=names)
    out = np.empty(job.shape, job.dtype)
    for _ in start_job(job, out, measure_intensity(job.source, job.axes), cancelled=stopped):
        check()
    check()
    return np.asarray(out.mean(-1) if "S" in names else out, dtype=np.float64)


def source_peak(forward: ForwardModel) -> float:
    """Return how high a point of height 1 is in the source, on average over its place."""
    factor = forward.factor
    rng = np.random.default_rng(0)
    scene = lay_out(8, factor, None, rng)
    for number in range(8):
        point(scene, number, np.zeros(len(factor)), 1.0)
    coarse = replace(scene, truth=forward.apply(torch.from_numpy(scene.truth)).numpy())
    ones = (1,) * len(factor)
    peaks = [replace(coarse, factor=ones).cell(coarse.truth, n)[0].max() for n in range(8)]
    return float(np.mean(peaks))
