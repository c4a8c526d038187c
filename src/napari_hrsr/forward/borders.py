"""How an image goes on beyond its border, and the adjoint of that."""

from __future__ import annotations

import torch
from torch import Tensor


def extend(image: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Continue an image along one axis by its edge pixels.

    Parameters
    ----------
    image : Tensor
        Any shape.
    axis : int
        Axis to make longer.
    before, after : int
        Pixels to add at either end, from 0 up.

    Returns
    -------
    Tensor
        The image itself if nothing is to be added.
    """
    parts = [image]
    if before:
        parts.insert(0, _repeated(image.narrow(axis, 0, 1), axis, before))
    if after:
        parts.append(_repeated(image.narrow(axis, image.shape[axis] - 1, 1), axis, after))
    return torch.cat(parts, axis) if len(parts) > 1 else image


def fold(extended: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Apply the adjoint of `extend`: add what lies outside to the edge pixels.

    Parameters
    ----------
    extended : Tensor
        Any shape.
    axis : int
        Axis to shorten.
    before, after : int
        Pixels to take off at either end, from 0 up.

    Returns
    -------
    Tensor
        Shorter by `before` + `after` along the axis.
    """
    if not before and not after:
        return extended
    length = extended.shape[axis] - before - after
    image = extended.narrow(axis, before, length).clone()
    if before:
        outside = extended.narrow(axis, 0, before).sum(axis, keepdim=True)
        image.narrow(axis, 0, 1).add_(outside)
    if after:
        outside = extended.narrow(axis, before + length, after).sum(axis, keepdim=True)
        image.narrow(axis, length - 1, 1).add_(outside)
    return image


def _repeated(edge: Tensor, axis: int, times: int) -> Tensor:
    shape = list(edge.shape)
    shape[axis] = times
    return edge.expand(shape)
