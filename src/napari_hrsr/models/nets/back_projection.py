"""Iterative back-projection: the classical answer, and the bar for a trained network."""

from __future__ import annotations

from torch import Tensor, nn

from napari_hrsr.forward import ForwardModel
from napari_hrsr.models.nets.interpolation import Interpolation, Method, interpolation_halo


def back_projection_halo(
    scale: tuple[int, ...], iterations: int, kernel: Method = "linear"
) -> tuple[int, ...]:
    """Return how many source pixels on each side an output pixel depends on, per axis.

    Each iteration compares blocks of the result with the source pixel they
    make, and interpolates the difference: it reaches as far as the
    interpolation does.
    """
    start, step = interpolation_halo("cubic", scale), interpolation_halo(kernel, scale)
    return tuple(a + iterations * b for a, b in zip(start, step, strict=True))


class BackProjection(nn.Module):
    """Refine cubic interpolation until its pixels average to those recorded.

    Irani & Peleg (1991) with pixel areas as the forward model: the result is
    averaged over the area of each source pixel, and what is missing is
    interpolated and added. Nothing is learned and the noise level is not used.

    Parameters
    ----------
    ndim : int
        Number of spatial axes.
    scale : tuple of int
        Factor per spatial axis, 1 or more.
    iterations : int
        Number of refinements; also multiplies the halo.
    kernel : str
        How the difference is interpolated; see `Interpolation`.

    Raises
    ------
    ValueError
        If the arguments do not fit together.
    """

    def __init__(
        self,
        ndim: int,
        scale: tuple[int, ...],
        iterations: int = 10,
        kernel: Method = "linear",
    ) -> None:
        super().__init__()
        if iterations < 0:
            msg = f"iterations must be 0 or more, got {iterations!r}"
            raise ValueError(msg)
        self.iterations, self.kernel = iterations, kernel
        self.start = Interpolation(ndim, scale, "cubic")
        self.spread = Interpolation(ndim, scale, kernel)
        self.camera = ForwardModel(tuple(scale), sampling="area")

    @property
    def halo(self) -> tuple[int, ...]:
        """Source pixels on each side that an output pixel depends on, per axis."""
        return back_projection_halo(self.start.scale, self.iterations, self.kernel)

    def forward(self, batch: Tensor, noise: Tensor | None = None) -> Tensor:
        """Upscale.

        Parameters
        ----------
        batch : Tensor
            Shape (N, C, *spatial), floating point.
        noise : Tensor, optional
            Not used.

        Returns
        -------
        Tensor
            Shape (N, C, *(spatial * scale)), same dtype and units.
        """
        result: Tensor = self.start(batch)
        for _ in range(self.iterations):
            result = result + self.spread(batch - self.camera.apply(result))
        return result
