"""The networks, one a file, n-dimensional, each a plain ``torch.nn.Module``.

A network is called as ``network(batch, noise)`` with a batch of shape
(N, C, *spatial) and a noise level of shape (N, 1, 1, ...) or ``None``, and
returns (N, C, *(spatial * scale)). Nothing in it may depend on the spatial
extent of the input: tiles would then disagree with the whole image.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari_hrsr.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURES: Mapping[str, str] = {
    "attention": "attention:AttentionUpscaler",
    "back_projection": "back_projection:BackProjection",
    "convolutional": "convolutional:ConvolutionalUpscaler",
    "fsrcnn": "fsrcnn:TransposedUpscaler",
    "interpolation": "interpolation:Interpolation",
    "residual": "residual:ResidualUpscaler",
    "srcnn": "srcnn:InterpolatedUpscaler",
}
"""Name of an architecture -> module and class in this package. The only way to name one."""


DISCRIMINATORS: Mapping[str, str] = {
    "encoder": "encoder:EncoderDiscriminator",
    "unet": "unet_discriminator:UNetDiscriminator",
}
"""The same for the networks that tell made images from real ones; no file of a model names one."""


def build_network(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build an untrained network by its name in the table.

    Raises
    ------
    ModelError
        If the architecture is not in the table, or does not take the
        arguments.
    """
    return _build(ARCHITECTURES, "architecture", architecture, arguments)


def build_discriminator(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build an untrained discriminator by its name in its table.

    It is called as ``discriminator(images)`` and returns logits; its method
    ``features(images)`` returns what lies in between as well.

    Raises
    ------
    ModelError
        If the discriminator is not in the table, or does not take the
        arguments.
    """
    return _build(DISCRIMINATORS, "discriminator", name, arguments)


def _build(
    table: Mapping[str, str], what: str, wanted: str, arguments: Mapping[str, Any]
) -> nn.Module:
    try:
        module, _, name = table[wanted].partition(":")
    except KeyError:
        msg = (
            f"unknown {what} {wanted!r}; this version of napari-hrsr knows "
            f"{', '.join(sorted(table))}"
        )
        raise ModelError(msg) from None
    network = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    try:
        return network(**arguments)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        msg = f"{what} {wanted!r} does not take these arguments: {error}"
        raise ModelError(msg) from error
