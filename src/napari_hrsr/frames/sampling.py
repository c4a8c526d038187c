"""How shifted frames sample one fine image: exact operators and their adjoints.

Along one axis, with two fine pixels in a pixel of the frames::

    fine image      | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 |
    frame, shift 0  |   0   |   1   |   2   |   3   |
    frame, shift s     |   0   |   1   |   2   |   3   |    s = -0.4: what the
                                                            reference shows at x
                                                            lies at x - 0.4 here

A translation, the area of a pixel and a separable point spread function act
along one axis at a time, so a frame is a product of small matrices, one an
axis. A rotation mixes the axes; see `warping`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_hrsr.forward import ForwardModel

BLOCK = 16
"""Pixels of a frame that one product of matrices writes along an axis."""

LOBES = 3
"""Half width of the interpolating kernel in fine pixels."""


class Frames(Protocol):
    """What takes a fine image to all frames of a window, and back."""

    def apply(self, fine: Tensor) -> Tensor:
        """Return the frames, shape (frames, *coarse), of a fine image."""

    def adjoint(self, coarse: Tensor) -> Tensor:
        """Apply the transposed operator."""

    def diagonal(self, weights: Tensor) -> Tensor:
        """Return the diagonal of ``adjoint(weights * apply(.))``, or what comes close to it."""


def lanczos(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate Lanczos' kernel, a windowed sinc (Duchon 1979).

    Parameters
    ----------
    distance : ndarray
        From the kernel's centre, in pixels.
    """
    inside = np.abs(distance) < LOBES
    return np.where(inside, np.sinc(distance) * np.sinc(distance / LOBES), 0.0)


def axis_taps(model: ForwardModel, axis: int, shift: float) -> tuple[int, NDArray[np.float64]]:
    """Return what one pixel of a shifted frame collects along an axis.

    Parameters
    ----------
    model : ForwardModel
        Point spread function and sampling.
    axis : int
        Which.
    shift : float
        Where the frame shows what the reference shows at 0, in its pixels.

    Returns
    -------
    first : int
        Fine pixel that pixel 0 reads first.
    taps : ndarray
        Weights of the fine pixels from there on; they add up to one.
    """
    kernel, factor = model.kernels[axis], model.factor[axis]
    places = kernel.origin + np.arange(len(kernel.taps)) - shift * factor
    first = math.floor(places[0]) - LOBES + 1
    read = np.arange(first, math.floor(places[-1]) + LOBES + 1)
    share = lanczos(np.asarray(places[:, None] - read, float))
    share /= share.sum(1, keepdims=True)
    taps: NDArray[np.float64] = np.asarray(kernel.taps) @ share
    return first, taps / taps.sum()


@dataclass(frozen=True, slots=True, eq=False)
class _Blocks:
    """Banded matrices, one a frame, whose rows repeat: applied block by block.

    Blocks keep the products small enough to be fast and large enough for a
    library of matrix products; a convolution per frame is neither.

    Attributes
    ----------
    matrices : Tensor
        Shape (frames, read, written): one block.
    step : int
        From where one block reads to where the next one does.
    before : int
        By how much the first block reads before the first pixel.
    """

    matrices: Tensor
    step: int
    before: int

    def along(self, image: Tensor, axis: int, length: int) -> Tensor:
        """Multiply an axis of the image, or images, by the frames' matrices.

        Parameters
        ----------
        image : Tensor
            Shape (1 or frames, ...). What lies outside is zero.
        axis : int
            Which.
        length : int
            Of the result along it.
        """
        _, read, written = self.matrices.shape
        count = -(-length // written)
        after = (count - 1) * self.step + read - self.before - image.shape[axis]
        padding = [0, 0] * (image.ndim - 1 - axis) + [self.before, after]
        # A negative padding takes off what no block reads.
        padded = torch.nn.functional.pad(image, padding)
        windows = padded.unfold(axis, read, self.step)
        flat = windows.reshape(len(image), -1, read) @ self.matrices
        blocks = flat.reshape(-1, *windows.shape[1:-1], written).movedim(-1, axis + 1)
        joined = blocks.reshape(*blocks.shape[:axis], count * written, *blocks.shape[axis + 2 :])
        return joined.narrow(axis, 0, length)

    def summed(self, images: Tensor, length: int) -> Tensor:
        """Multiply the first axis of the images, and add the frames up.

        Parameters
        ----------
        images : Tensor
            Shape (frames, ...). What lies outside is zero.
        length : int
            Of the result along it.
        """
        frames, read, written = self.matrices.shape
        count = -(-length // written)
        after = (count - 1) * self.step + read - self.before - images.shape[1]
        rest = images.shape[2:]
        padding = [0, 0] * len(rest) + [self.before, after]
        padded = torch.nn.functional.pad(images, padding).reshape(frames, -1, math.prod(rest))
        # One product for all frames: their sum costs no image a frame.
        windows = padded.unfold(1, read, self.step).permute(1, 0, 3, 2)
        flat = windows.reshape(count, frames * read, -1)
        joined = self.matrices.reshape(frames * read, written).T @ flat
        return joined.reshape(count * written, *rest).narrow(0, 0, length)


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """One axis of all frames.

    Attributes
    ----------
    first : tuple of int
        See `axis_taps`; one a frame.
    taps : tuple of ndarray
        Likewise.
    factor : int
        Fine pixels in a pixel of the frames.
    """

    first: tuple[int, ...]
    taps: tuple[NDArray[np.float64], ...]
    factor: int

    def blocks(self, device: torch.device | str, *, squared: bool = False) -> _Blocks:
        """Return what takes fine pixels to frames."""
        first = min(self.first)
        last = max(f + len(t) for f, t in zip(self.first, self.taps, strict=True))
        read = (BLOCK - 1) * self.factor + last - first
        matrices = np.zeros((len(self.taps), read, BLOCK), np.float32)
        for matrix, f, taps in zip(matrices, self.first, self.taps, strict=True):
            for pixel in range(BLOCK):
                start = pixel * self.factor + f - first
                matrix[start : start + len(taps), pixel] = taps**2 if squared else taps
        return _Blocks(torch.tensor(matrices, device=device), BLOCK * self.factor, -first)

    def transposed(self, device: torch.device | str, *, squared: bool = False) -> _Blocks:
        """Return what takes frames to fine pixels."""
        first = min(self.first)
        last = max(f + len(t) for f, t in zip(self.first, self.taps, strict=True))
        # Pixel j collects the fine pixels j * factor + first to j * factor + last - 1.
        before = max(0, (last - 1) // self.factor)
        after = max(0, -(first // self.factor))
        read = before + BLOCK + after
        matrices = np.zeros((len(self.taps), read, BLOCK * self.factor), np.float32)
        for matrix, f, taps in zip(matrices, self.first, self.taps, strict=True):
            for row in range(read):
                start = (row - before) * self.factor + f
                for tap, weight in enumerate(taps):
                    if 0 <= start + tap < BLOCK * self.factor:
                        matrix[row, start + tap] = weight**2 if squared else weight
        return _Blocks(torch.tensor(matrices, device=device), BLOCK, before)


@dataclass(frozen=True, slots=True, eq=False)
class TranslatedFrames:
    """Frames that are moved against each other without turning.

    What lies outside the window is zero: pixels that look beyond it must have
    no weight.

    Attributes
    ----------
    model : ForwardModel
        Its point spread function acts on the fine image, before any shift.
    shape : tuple of int
        Of the window, in pixels of the frames.
    forth, back, squares : tuple of _Blocks
        One an axis.
    """

    model: ForwardModel
    shape: tuple[int, ...]
    forth: tuple[_Blocks, ...]
    back: tuple[_Blocks, ...]
    squares: tuple[_Blocks, ...]

    @classmethod
    def of(
        cls,
        model: ForwardModel,
        shape: Sequence[int],
        shifts: NDArray[np.float64],
        device: torch.device | str = "cpu",
    ) -> TranslatedFrames:
        """Make the operator of a window.

        Parameters
        ----------
        model : ForwardModel
            The instrument.
        shape : sequence of int
            Of the window, in pixels of the frames.
        shifts : ndarray, shape (frames, axes)
            Where each frame shows what the reference shows at 0, less the whole
            pixels by which the windows of the frames lie apart.
        device : torch.device or str
            Where to compute.
        """
        axes = []
        for axis, factor in enumerate(model.factor):
            first, taps = zip(
                *(axis_taps(model, axis, float(s)) for s in shifts[:, axis]), strict=True
            )
            axes.append(_Axis(first, taps, factor))
        return cls(
            model,
            tuple(shape),
            tuple(axis.blocks(device) for axis in axes),
            tuple(axis.transposed(device) for axis in axes),
            tuple(axis.transposed(device, squared=True) for axis in axes),
        )

    def apply(self, fine: Tensor) -> Tensor:
        """Return the frames of a fine image; see `Frames`."""
        spread = self.model.point_spread
        image = (fine if spread is None else spread.apply(fine))[None]
        for axis, blocks in enumerate(self.forth):
            image = blocks.along(image, axis + 1, self.shape[axis])
        return image

    def adjoint(self, coarse: Tensor) -> Tensor:
        """Apply the transposed operator; see `Frames`."""
        fine = self._back(coarse, self.back)
        spread = self.model.point_spread
        return fine if spread is None else spread.adjoint(fine)

    def diagonal(self, weights: Tensor) -> Tensor:
        """Return a diagonal to scale by; the point spread function is left out."""
        return self._back(weights, self.squares)

    def _back(self, coarse: Tensor, axes: Sequence[_Blocks]) -> Tensor:
        image = coarse
        lengths = [n * k for n, k in zip(self.shape, self.model.factor, strict=True)]
        for axis in reversed(range(1, len(axes))):
            image = axes[axis].along(image, axis + 1, lengths[axis])
        return axes[0].summed(image, lengths[0])
