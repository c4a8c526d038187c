"""Weights as whole numbers from -127 to 127 and a scale, a quarter of the size of float32.

Only how weights are stored: they become float32 again when a model is loaded,
so nothing is faster or slower for it. The scale is one for each index of a
weight's first axis, in convolutions the output channel, and symmetric, so zero
stays zero (Krishnamoorthi, Quantizing deep convolutional networks for
efficient inference: a whitepaper, 2018). Biases and slopes, a few numbers,
stay in half precision.

The largest weight of a row sets its scale. To cut it off and be finer for the
rest, by the least squared error, changed no figure.

Computing in whole numbers was measured and left out. torch's quantised
convolutions are deprecated with all of their tensor types, and on a processor
without VNNI they are no faster than float32: 10.7 ms against 10.8 ms by oneDNN,
33 ms by FBGEMM (32 to 32 channels, 192 x 192 pixels, one thread).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from napari_hrsr.errors import ModelFileError

SCALE = "/scale"
"""What follows a weight's key in the key of its scale; no network has such a key."""

_LARGEST = 127


def quantise(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn the weights of convolutions into whole numbers and scales.

    Parameters
    ----------
    state : Mapping of str to Tensor
        What ``state_dict`` of a network returns.

    Returns
    -------
    dict
        int8 and, under the key followed by `SCALE`, float32 of shape (n,) for
        tensors of three axes or more, whose first has length n; float16 for
        all others.
    """
    stored: dict[str, Tensor] = {}
    for key, tensor in state.items():
        values = tensor.detach().cpu().float()
        if values.ndim < 3:
            stored[key] = values.half()
        else:
            stored[key], stored[key + SCALE] = _whole(values)
    return stored


def _whole(weight: Tensor) -> tuple[Tensor, Tensor]:
    rows = weight.flatten(1)
    largest = rows.abs().amax(1, keepdim=True)
    # Of a row of zeros every scale is right.
    scale = torch.where(largest > 0, largest, torch.ones_like(largest)) / _LARGEST
    whole = (rows / scale).round().clamp(-_LARGEST, _LARGEST).to(torch.int8)
    return whole.reshape(weight.shape), scale.flatten()


def restore(name: str, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn whole numbers and their scales into float32; what is no whole number stays.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    stored : Mapping of str to Tensor
        Tensors of a file, which may be anybody's.

    Raises
    ------
    ModelFileError
        If whole numbers have no scale that fits them.
    """
    state = dict(stored)
    for key, tensor in stored.items():
        if tensor.dtype is not torch.int8:
            continue
        scale = state.pop(key + SCALE, None)
        if (
            scale is None
            or tensor.ndim < 1
            or scale.dtype is not torch.float32
            or scale.shape != tensor.shape[:1]
            or not bool(torch.isfinite(scale).all())
        ):
            msg = f"{name}: tensor {key!r} has type torch.int8 and no scale that fits it"
            raise ModelFileError(msg)
        state[key] = tensor.float() * scale.reshape(-1, *(1,) * (tensor.ndim - 1))
    return state
