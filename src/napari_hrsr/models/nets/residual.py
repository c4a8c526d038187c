"""A residual network after EDSR.

Lim et al., Enhanced deep residual networks for single image super-resolution,
CVPR workshops 2017: residual blocks without batch normalisation.
"""

from __future__ import annotations

from torch import Tensor, nn

from napari_hrsr.models.nets.subpixel import Convolution, SubPixelUpscaler, relu


class ResidualBlock(nn.Module):
    """Two convolutions with a rectifier between them, added to their input.

    The second starts small, so that a deep stack starts out near the
    identity (the paper scales the branch by 0.1 instead).

    Parameters
    ----------
    ndim, features : int
        Spatial axes and channels.
    """

    radius = 2

    def __init__(self, ndim: int, features: int) -> None:
        super().__init__()
        self.first = Convolution(ndim, features, features)
        self.second = Convolution(ndim, features, features, gain=0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, features, *spatial) to the same shape."""
        y: Tensor = x + self.second(relu(self.first(x)))
        return y


class ResidualUpscaler(SubPixelUpscaler):
    """Cubic interpolation plus what a chain of residual blocks adds to it.

    Parameters
    ----------
    ndim : int
        Number of spatial axes, 2 or 3.
    scale : tuple of int
        Factor per spatial axis, 1 or more.
    channels : int
        Channels of image and result.
    features : int
        Channels inside.
    blocks : int
        Number of residual blocks; one convolution follows them.
    noise_input : bool
        Whether the standard deviation of the noise is given to the network;
        see `SubPixelUpscaler`.

    Raises
    ------
    ValueError
        If the arguments do not fit together.
    """

    def __init__(
        self,
        ndim: int,
        scale: tuple[int, ...],
        channels: int = 1,
        features: int = 32,
        blocks: int = 8,
        noise_input: bool = True,
    ) -> None:
        def make_body() -> list[nn.Module]:
            body: list[nn.Module] = [ResidualBlock(ndim, features) for _ in range(blocks)]
            return [*body, Convolution(ndim, features, features)]

        super().__init__(ndim, scale, channels, features, noise_input, make_body)
