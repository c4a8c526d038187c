"""Run a network on tiles, in smaller pieces when memory runs out.

No torch context outlives a call: a generator that yielded inside
``inference_mode`` would leave it switched on in whoever consumes it.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_hrsr.devices import Placement, float32_means_float32, memory_format
from napari_hrsr.errors import CancelledError, ComputeError, HrsrError, OutOfMemoryError
from napari_hrsr.memory import is_out_of_memory, release_memory
from napari_hrsr.models.compose import run_wanted
from napari_hrsr.models.spec import Upscaler

logger = logging.getLogger(__name__)

SHORTEST_BODY = 4
"""A body is not split below this many pixels on its longest axis."""

Body = tuple[tuple[int, int], ...]
"""First and one past the last pixel of a body, within its tile, per spatial axis."""


class _UnsoundError(Exception):
    """Half precision did not hold what a network computes; the text says how that showed."""


class Runner:
    """A private, prepared copy of a model that survives running out of memory.

    Where half precision gives NaN, infinite values or one value all over, the
    tile is computed again in float32, and all that follow are computed in it.

    Parameters
    ----------
    model : Upscaler
        Left unchanged.
    placement : Placement
        Device and precision of the copy.
    halo : sequence of int
        Halo of the tiles, in source pixels, on multiples of the network's.
    cancelled : callable, optional
        Polled within a tile by models that take long over one.
    """

    def __init__(
        self,
        model: Upscaler,
        placement: Placement,
        halo: Sequence[int],
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self._cancelled = cancelled
        self.spec = model.spec
        self._placement = placement
        self._halo = tuple(halo)
        self._format = memory_format(model.spec.ndim, placement)
        self._original = self._model = model
        self._too_large: float = math.inf
        self._copy()

    @property
    def precision(self) -> str:
        """What it computes in now, ``"float32"`` or as it was asked for."""
        return str(self._placement.dtype).removeprefix("torch.")

    def run(
        self, images: NDArray[np.float32], noise: NDArray[np.float32], bodies: Sequence[Body]
    ) -> list[NDArray[np.float32]]:
        """Upscale the bodies of a batch of tiles.

        Parameters
        ----------
        images : ndarray of float32, shape (N, C, *read)
            Tiles with their halo, in the model's value range.
        noise : ndarray of float32, shape (N,)
            Standard deviation of the noise, in the same units.
        bodies : sequence of Body
            What to keep of each tile.

        Returns
        -------
        list of ndarray of float32, each of shape (C, *(body * scale))
            The upscaled bodies.

        Raises
        ------
        OutOfMemoryError
            If a part with a body of a few pixels does not fit.
        ComputeError
            If the network fails, or returns numbers that are not finite.
        CancelledError
            If the run was cancelled within a tile.
        """
        size = len(images) * math.prod(images.shape[2:])
        if size < self._too_large or not self._divisible(images, bodies):
            results = self._attempt(images, noise, bodies)
            if results is not None:
                return results
            # Only here is the failed call's frame gone, and its memory free.
            release_memory(self._placement.device)
            if not self._divisible(images, bodies):
                msg = (
                    f"out of memory: model {self.spec.name!r} cannot run on a tile of "
                    f"{' x '.join(map(str, images.shape[2:]))} pixels on {self._placement.device}. "
                    "Close other programs, choose another device, or a smaller model"
                )
                raise OutOfMemoryError(msg)
            self._too_large = size
        if len(images) > 1:
            half = len(images) // 2
            return self.run(images[:half], noise[:half], bodies[:half]) + self.run(
                images[half:], noise[half:], bodies[half:]
            )
        return [self._run_in_halves(images, noise, bodies[0])]

    def check(self) -> None:
        """Raise CancelledError if the run was cancelled."""
        if self._cancelled is not None and self._cancelled():
            msg = "cancelled within a tile"
            raise CancelledError(msg)

    def _divisible(self, images: NDArray[np.float32], bodies: Sequence[Body]) -> bool:
        longest = max(stop - start for start, stop in bodies[0])
        least = max(SHORTEST_BODY, 2 * max(self.spec.multiple))
        return len(images) > 1 or (self.spec.halo is not None and longest >= 2 * least)

    def _run_in_halves(
        self, image: NDArray[np.float32], noise: NDArray[np.float32], body: Body
    ) -> NDArray[np.float32]:
        """Run the two halves of a body's longest axis, each with its own halo."""
        axis = max(range(len(body)), key=lambda a: body[a][1] - body[a][0])
        (start, stop), halo = body[axis], self._halo[axis]
        multiple, length = self.spec.multiple[axis], image.shape[2 + axis]
        middle = (start + stop) // 2
        halves = []
        for first, last in ((start, middle), (middle, stop)):
            low = max(0, (first - halo) // multiple * multiple)
            least = max(last + halo, low + self.spec.minimum[axis])
            high = min(length, -(-least // multiple) * multiple)
            low = max(0, min(low, high - self.spec.minimum[axis]) // multiple * multiple)
            part = np.take(image, range(low, high), axis=2 + axis)
            local = (*body[:axis], (first - low, last - low), *body[axis + 1 :])
            halves += self.run(part, noise, [local])
        return np.concatenate(halves, axis=1 + axis)

    def _attempt(
        self, images: NDArray[np.float32], noise: NDArray[np.float32], bodies: Sequence[Body]
    ) -> list[NDArray[np.float32]] | None:
        """Run the network once; None means that memory ran out."""
        try:
            with torch.inference_mode(), float32_means_float32():
                return self._forward(images, noise, bodies)
        except _UnsoundError as error:
            logger.info("model %r in %s: %s", self.spec.name, self.precision, error)
        except HrsrError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                return None
            shape = " x ".join(map(str, images.shape[2:]))
            raise self._translated(error, f"failed on a tile of {shape} pixels") from error
        # Only here is the failed call's frame gone, and its memory free.
        self._placement = replace(self._placement, dtype=torch.float32)
        self._format = memory_format(self.spec.ndim, self._placement)
        self._model = self._original
        release_memory(self._placement.device)
        self._copy()
        return self._attempt(images, noise, bodies)

    def _copy(self) -> None:
        """Make the private copy, unless the model has nothing that could be moved."""
        if isinstance(self._original, nn.Module):
            try:
                self._model = self._prepare(copy.deepcopy(self._original))
            except (RuntimeError, MemoryError) as error:
                raise self._translated(error, "could not be moved") from error

    def _prepare(self, model: nn.Module) -> Upscaler:
        """Put a private copy where it computes, in the layout that is fastest there."""
        model = model.eval().requires_grad_(False)
        model = model.to(self._placement.device, self._placement.dtype)
        kept = {
            weight
            for part in model.modules()
            if getattr(part, "keeps_layout", False)
            for weight in part.parameters()
        }
        for weight in model.parameters():
            # A model may hold networks of fewer axes, whose weights have another layout.
            if weight.ndim == 2 + self.spec.ndim and weight not in kept:
                weight.data = weight.data.contiguous(memory_format=self._format)
        return cast("Upscaler", model)

    def _translated(self, error: Exception, what: str) -> HrsrError:
        """Say in our words what torch reported: which model, where, why."""
        where = f"model {self.spec.name!r} {what} on {self._placement.device}"
        if is_out_of_memory(error):
            return OutOfMemoryError(
                f"out of memory: {where}. Close other programs, choose another device, "
                "or a smaller model"
            )
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return ComputeError(f"{where}: {reason}")

    def _forward(
        self, images: NDArray[np.float32], noise: NDArray[np.float32], bodies: Sequence[Body]
    ) -> list[NDArray[np.float32]]:
        device, dtype = self._placement.device, self._placement.dtype
        batch = torch.from_numpy(images).to(device, dtype)
        # A batch of one channel is contiguous in every format, so its strides
        # would go unnoticed: the copy states the format.
        batch = batch.contiguous(memory_format=self._format)
        level = None
        if self.spec.noise_input:
            level = torch.from_numpy(noise).to(device, dtype)
            level = level.reshape(-1, 1, *(1,) * self.spec.ndim)
        upscaled = run_wanted(self._model, batch, level, _hull(bodies), self._cancelled)
        self._check(upscaled, batch)
        results = []
        for result, body in zip(upscaled, bodies, strict=True):
            crop = tuple(
                slice(start * k, stop * k)
                for (start, stop), k in zip(body, self.spec.scale, strict=True)
            )
            kept: Tensor = result[(slice(None), *crop)].to("cpu", torch.float32)
            results.append(kept.numpy())
        return results

    def _check(self, upscaled: Tensor, batch: Tensor) -> None:
        spatial = [n * k for n, k in zip(batch.shape[2:], self.spec.scale, strict=True)]
        expected = (*batch.shape[:2], *spatial)
        if tuple(upscaled.shape) != expected:
            msg = (
                f"model {self.spec.name!r} returned shape {tuple(upscaled.shape)} for an input of "
                f"{tuple(batch.shape)}; its factor {self.spec.scale} calls for {expected}"
            )
            raise ComputeError(msg)
        # Least and most show what is not finite, without a copy of the result.
        finite = all(bool(torch.isfinite(value)) for value in upscaled.aminmax())
        if self._placement.dtype != torch.float32:
            if not finite:
                msg = "NaN or infinite values"
                raise _UnsoundError(msg)
            if bool((_is_constant(upscaled) & ~_is_constant(batch)).any()):
                msg = "one value all over"
                raise _UnsoundError(msg)
        if not finite:
            msg = (
                f"model {self.spec.name!r} returned NaN or infinite values: its weights are damaged"
            )
            raise ComputeError(msg)


def _is_constant(batch: Tensor) -> Tensor:
    """Tell which images of a batch have one value all over."""
    least, most = batch.flatten(1).aminmax(dim=1)
    return least == most


def _hull(bodies: Sequence[Body]) -> Body:
    """Return the least box that holds all bodies."""
    return tuple(
        (min(start for start, _ in spans), max(stop for _, stop in spans))
        for spans in zip(*bodies, strict=True)
    )
