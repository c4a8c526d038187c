"""A network that somebody else's program runs, with what goes before and after it.

The engine gives an image of shape (C, *spatial). Other programs want their axes
in another order, lengths of their own, and values that are shifted, scaled or
clipped first; all of that is elementwise or a rearrangement, so that tiles
still equal the whole image.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_hrsr.errors import ModelFileError
from napari_hrsr.models.compose import Interruptible, check_cancelled
from napari_hrsr.models.spec import ModelSpec

WRAPPED = "wrapped"
"""What the `ModelSpec` of such a network has for its architecture."""

Run = Callable[[NDArray[np.float32]], NDArray[Any]]
"""Takes and returns arrays with the axes that `Wrapping` states."""

Step = tuple[str, tuple[float, ...], tuple[float, ...]]
"""Name and two lists of numbers, see `apply_step`."""


@dataclass(frozen=True, slots=True)
class Wrapping:
    """How a network is called.

    Attributes
    ----------
    inputs, outputs : str
        Axes of what it takes and gives, of the letters b, c, z, y and x.
    least, step : tuple of int
        Lengths that it takes along each spatial axis: ``least + n * step``.
    lost : tuple of int
        Source pixels at each border that its result leaves out, per spatial axis.
    before, after : tuple of Step
        What is done to the values, one after another.
    """

    inputs: str
    outputs: str
    least: tuple[int, ...]
    step: tuple[int, ...]
    lost: tuple[int, ...]
    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()


def wrapping_to_text(wrapping: Wrapping) -> str:
    """Return the facts as JSON."""
    return json.dumps(asdict(wrapping))


def wrapping_from_text(name: str, text: object) -> Wrapping:
    """Rebuild the facts from JSON.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    text : object
        What its header holds.

    Raises
    ------
    ModelFileError
        If it is not understood.
    """
    try:
        facts = json.loads(str(text))
        steps = {
            key: tuple(
                (str(n), tuple(map(float, a)), tuple(map(float, b))) for n, a, b in facts[key]
            )
            for key in ("before", "after")
        }
        lengths = {key: tuple(map(int, facts[key])) for key in ("least", "step", "lost")}
        return Wrapping(
            str(facts["inputs"]),
            str(facts["outputs"]),
            least=lengths["least"],
            step=lengths["step"],
            lost=lengths["lost"],
            before=steps["before"],
            after=steps["after"],
        )
    except (ValueError, TypeError, KeyError) as error:
        msg = f"{name} describes its network in a way that is not understood: {error}"
        raise ModelFileError(msg) from None


class WrappedNetwork(Interruptible):
    """Calls a network as it wants to be called.

    Parameters
    ----------
    run : callable
        The network.
    wrapping : Wrapping
        How it is called.
    spec : ModelSpec
        What is known of it.
    """

    def __init__(self, run: Run, wrapping: Wrapping, spec: ModelSpec) -> None:
        super().__init__([], spec)
        self.run = run
        self.wrapping = wrapping

    def forward(
        self,
        batch: Tensor,
        *,
        noise: Tensor | None = None,
        wanted: Sequence[tuple[int, int]] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Tensor:
        """Run the network on image after image; see `Upscaler`."""
        images = batch.detach().to("cpu", torch.float32).numpy()
        results = []
        for image in images:
            check_cancelled(cancelled)
            if hasattr(self.run, "cancelled"):
                self.run.cancelled = cancelled
            results.append(self._one(image))
        return torch.from_numpy(np.stack(results)).to(batch)

    def _one(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        way, scale = self.wrapping, self.spec.scale
        for step in way.before:
            image = apply_step(image, step)
        lengths = image.shape[1:]
        pads = [(0, 0)]
        for n, least, step_length, lost in zip(lengths, way.least, way.step, way.lost, strict=True):
            wanted = max(n + 2 * lost, least)
            wanted = least + -(-(wanted - least) // step_length) * step_length
            pads.append((lost, wanted - n - lost))
        padded = np.pad(image, pads, mode="edge")
        result = _arranged(self.run(_given(padded, way.inputs)), way.outputs)
        keep = tuple(slice(0, n * k) for n, k in zip(lengths, scale, strict=True))
        result = result[(slice(None), *keep)].astype(np.float32, copy=False)
        for step in way.after:
            result = apply_step(result, step)
        return np.ascontiguousarray(result, dtype=np.float32)


def apply_step(image: NDArray[np.float32], step: Step) -> NDArray[np.float32]:
    """Change values one by one.

    Parameters
    ----------
    image : ndarray of float32, shape (C, *spatial)
        Any values.
    step : Step
        ``"linear"`` with gains and offsets, one or one per channel; ``"clip"``
        with least and most; ``"above"`` with thresholds; ``"sigmoid"``;
        ``"softmax"`` over the channels.
    """
    name, first, second = step
    shape = (-1,) + (1,) * (image.ndim - 1)
    if name == "linear":
        gain = np.asarray(first, np.float32).reshape(shape)
        scaled: NDArray[np.float32] = image * gain + np.asarray(second, np.float32).reshape(shape)
        return scaled
    if name == "clip":
        low = first[0] if first else None
        clipped: NDArray[np.float32] = np.clip(image, low, second[0] if second else None)
        return clipped
    if name == "above":
        return (image > np.asarray(first, np.float32).reshape(shape)).astype(np.float32)
    if name == "sigmoid":
        squashed: NDArray[np.float32] = (1 / (1 + np.exp(-image))).astype(np.float32)
        return squashed
    if name == "softmax":
        power = np.exp(image - image.max(0, keepdims=True))
        shares: NDArray[np.float32] = (power / power.sum(0, keepdims=True)).astype(np.float32)
        return shares
    msg = f"unknown step {name!r}"
    raise ModelFileError(msg)


def _given(image: NDArray[np.float32], axes: str) -> NDArray[np.float32]:
    """Bring (C, *spatial) into the order of the network's axes."""
    own = "c" + "zyx"[-(image.ndim - 1) :]
    if "c" not in axes:
        image, own = image[0], own[1:]
    order = [own.index(letter) for letter in axes if letter in own]
    image = image.transpose(order)
    for position, letter in enumerate(axes):
        if letter not in own:
            image = np.expand_dims(image, position)
    return np.ascontiguousarray(image)


def _arranged(result: NDArray[Any], axes: str) -> NDArray[Any]:
    """Bring a network's result into (C, *spatial)."""
    if result.ndim != len(axes):
        msg = f"the network's result has {result.ndim} axes, {len(axes)} are described"
        raise ModelFileError(msg)
    for position in reversed(range(len(axes))):
        if axes[position] == "b":
            result = result.take(0, axis=position)
    left = axes.replace("b", "")
    if "c" not in left:
        result, left = result[None], "c" + left
    return result.transpose([left.index(letter) for letter in "czyx" if letter in left])
