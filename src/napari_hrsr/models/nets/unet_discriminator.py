"""A small U-Net that judges every pixel of an image.

Wang et al., Real-ESRGAN: training real-world blind super-resolution with pure
synthetic data, ICCV workshops 2021: a U-Net with spectral normalisation
(Miyato et al., ICLR 2018) whose decoder adds what its encoder saw.
"""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from napari_hrsr.models.nets.encoder import SLOPE, discriminator_convolution
from napari_hrsr.models.nets.subpixel import check_axes


class UNetDiscriminator(nn.Module):
    """One logit for each pixel: high where it looks like a real one.

    Parameters
    ----------
    ndim : int
        Number of spatial axes, 2 or 3.
    inputs : int
        Channels of what is judged: those of the image, and of what stands
        beside it (for example the interpolated source).
    width : int
        Channels at full size; doubled at each halving.
    halvings : int
        How often the image is halved, and doubled again.
    spectral : bool
        Whether weights are divided by their largest singular value; the last
        convolution's never are.

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
        halvings: int = 2,
        spectral: bool = True,
    ) -> None:
        super().__init__()
        check_axes(ndim)
        if halvings < 0:
            msg = f"halvings must be 0 or more, got {halvings!r}"
            raise ValueError(msg)

        def convolution(before: int, after: int, stride: int = 1) -> nn.Module:
            return discriminator_convolution(ndim, before, after, stride=stride, spectral=spectral)

        self.ndim = ndim
        widths = [width * 2**i for i in range(halvings + 1)]
        levels = list(itertools.pairwise(widths))
        self.first = convolution(inputs, width)
        self.down = nn.ModuleList(convolution(fine, coarse, 2) for fine, coarse in levels)
        self.up = nn.ModuleList(convolution(coarse, fine) for fine, coarse in reversed(levels))
        self.refine = nn.ModuleList(convolution(width, width) for _ in range(2))
        self.logit = discriminator_convolution(ndim, width, 1, spectral=False)

    def features(self, images: Tensor) -> list[Tensor]:
        """Return what the network sees on the way, for a loss that compares it.

        Parameters
        ----------
        images : Tensor
            Shape (N, inputs, *spatial), any size.

        Returns
        -------
        list of Tensor
            After each convolution, shape (N, channels, *shorter or *spatial);
            last the logits, shape (N, 1, *spatial).
        """
        skips = [F.leaky_relu(self.first(images), SLOPE)]
        for stage in self.down:
            skips.append(F.leaky_relu(stage(skips[-1]), SLOPE))
        seen = list(skips)
        x = skips.pop()
        for stage in self.up:
            skip = skips.pop()
            x = F.leaky_relu(stage(_double(x, skip.shape[2:])), SLOPE) + skip
            seen.append(x)
        for stage in self.refine:
            x = F.leaky_relu(stage(x), SLOPE)
            seen.append(x)
        seen.append(self.logit(x))
        return seen

    def forward(self, images: Tensor) -> Tensor:
        """Judge images of shape (N, inputs, *spatial): logits of shape (N, 1, *spatial)."""
        return self.features(images)[-1]


def _double(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Repeat every pixel, and cut what an odd length has too much.

    On a GPU the gradient of torch's linear interpolation differs from run to
    run; this one's does not, and the convolution that follows smooths the steps.
    """
    for axis, length in enumerate(shape, start=2):
        x = x.repeat_interleave(2, dim=axis).narrow(axis, 0, length)
    return x
