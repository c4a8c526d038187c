"""An encoder that judges an image as a whole: the classical discriminator.

Convolutions that halve the image, an average over what is left, and a fully
connected head, after Radford et al., Unsupervised representation learning with
deep convolutional generative adversarial networks, ICLR 2016, and Ledig et
al., Photo-realistic single image super-resolution using a generative
adversarial network, CVPR 2017. Spectral normalisation (Miyato et al., ICLR
2018) takes the place of batch normalisation.
"""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from napari_hrsr.models.nets.subpixel import check_axes

SLOPE = 0.2
"""Slope of the rectifiers of discriminators below zero."""


def discriminator_convolution(
    ndim: int, inputs: int, outputs: int, *, stride: int = 1, spectral: bool = True
) -> nn.Module:
    """Make a 3-wide convolution whose result has ``ceil(length / stride)`` pixels.

    Parameters
    ----------
    ndim : int
        Number of spatial axes, 2 or 3.
    inputs, outputs : int
        Channels.
    stride : int
        Along each axis.
    spectral : bool
        Whether its weights are divided by their largest singular value.

    Returns
    -------
    Module
        Maps (N, inputs, *spatial) to (N, outputs, *shorter).
    """
    make = nn.Conv2d if ndim == 2 else nn.Conv3d
    convolution = make(inputs, outputs, 3, stride=stride, padding=1)
    return _initialised(convolution, spectral)


def _initialised(layer: nn.Conv2d | nn.Conv3d | nn.Linear, spectral: bool) -> nn.Module:
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return spectral_norm(layer) if spectral else layer


class EncoderDiscriminator(nn.Module):
    """One logit for an image of any size: high where it looks like a real one.

    Parameters
    ----------
    ndim : int
        Number of spatial axes, 2 or 3.
    inputs : int
        Channels of what is judged: those of the image, and of what stands
        beside it (for example the interpolated source).
    width : int
        Channels after the first convolution; doubled at each halving up to
        eight times as many.
    halvings : int
        How often the image is halved.
    spectral : bool
        Whether weights are divided by their largest singular value.

    Raises
    ------
    ValueError
        If the arguments do not fit together.
    """

    def __init__(
        self,
        ndim: int,
        inputs: int = 2,
        width: int = 24,
        halvings: int = 3,
        spectral: bool = True,
    ) -> None:
        super().__init__()
        check_axes(ndim)
        if halvings < 0:
            msg = f"halvings must be 0 or more, got {halvings!r}"
            raise ValueError(msg)
        self.ndim = ndim
        widths = [width * min(8, 2**i) for i in range(halvings + 1)]
        self.stages = nn.ModuleList(
            [
                discriminator_convolution(ndim, inputs, width, spectral=spectral),
                *(
                    discriminator_convolution(ndim, before, after, stride=2, spectral=spectral)
                    for before, after in itertools.pairwise(widths)
                ),
            ]
        )
        self.hidden = _initialised(nn.Linear(widths[-1], widths[-1]), spectral)
        self.logit = _initialised(nn.Linear(widths[-1], 1), spectral)

    def features(self, images: Tensor) -> list[Tensor]:
        """Return what the network sees on the way, for a loss that compares it.

        Parameters
        ----------
        images : Tensor
            Shape (N, inputs, *spatial), any size.

        Returns
        -------
        list of Tensor
            After each convolution, shape (N, channels, *shorter); after the
            hidden layer, shape (N, channels); last the logits, shape (N, 1).
        """
        seen: list[Tensor] = []
        x = images
        for stage in self.stages:
            x = F.leaky_relu(stage(x), SLOPE)
            seen.append(x)
        x = x.mean(dim=tuple(range(2, x.ndim)))
        seen.append(F.leaky_relu(self.hidden(x), SLOPE))
        seen.append(self.logit(seen[-1]))
        return seen

    def forward(self, images: Tensor) -> Tensor:
        """Judge images of shape (N, inputs, *spatial): logits of shape (N, 1)."""
        return self.features(images)[-1]
