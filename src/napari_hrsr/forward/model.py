"""The whole instrument as one operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from napari_hrsr.errors import InputError
from napari_hrsr.forward.axis_kernels import AxisKernel, axis_kernel
from napari_hrsr.forward.k_space import KSpaceTruncation
from napari_hrsr.forward.point_spread import PointSpread

Sampling = Literal["area", "point", "bicubic", "k-space"]
SliceProfile = Literal["gaussian", "box"]


@dataclass(frozen=True, slots=True)
class ForwardModel:
    """Blur and sampling as one linear operator with an exact adjoint.

    The grids share their outer edges: coarse pixel ``i`` is centred on fine
    position ``(i + 0.5) * factor - 0.5``. Beyond the border the image is
    continued by its edge pixels, or mirrored where k-space is truncated.

    Attributes
    ----------
    factor : tuple of int
        Fine pixels in a coarse one, per axis.
    psf_sigma : tuple of float
        Standard deviation of a Gaussian point spread function in fine pixels,
        per axis; empty for none.
    sampling : str
        ``"area"``: a pixel integrates over its area, as a camera's does;
        ``"bicubic"``: antialiased bicubic downsampling (Keys' kernel with
        a = -0.5, stretched by the factor), as MATLAB's ``imresize`` and
        torch's ``antialias=True`` do it; ``"point"``: the value at the centre;
        ``"k-space"``: only the frequencies that the coarse grid can hold, as in
        MRI with a smaller acquired matrix (see `KSpaceTruncation`).
    slice_axis : int or None
        An axis along which slices were taken; `slice_profile` replaces
        `sampling` there.
    slice_fwhm : float
        Full width at half maximum of the slice profile in fine pixels.
    slice_profile : str
        ``"gaussian"`` (selective excitation in MRI) or ``"box"`` (averaged slices).
    point_spread : PointSpread or None
        A point spread function of any shape, in front of everything else. One
        with fewer axes than the image acts along the last ones.
    apodisation : float
        Fraction, 0 to 1, of the recorded band of k-space that is tapered.

    Raises
    ------
    InputError
        If a factor, width or axis makes no sense.
    """

    factor: tuple[int, ...]
    psf_sigma: tuple[float, ...] = ()
    sampling: Sampling = "area"
    slice_axis: int | None = None
    slice_fwhm: float = 0.0
    slice_profile: SliceProfile = "gaussian"
    point_spread: PointSpread | None = None
    apodisation: float = 0.0

    def __post_init__(self) -> None:
        if not self.factor or any(k < 1 for k in self.factor):
            msg = f"factor must hold one positive whole number an axis, got {self.factor!r}"
            raise InputError(msg)
        if not self.psf_sigma:
            object.__setattr__(self, "psf_sigma", (0.0,) * self.ndim)
        if len(self.psf_sigma) != self.ndim or any(s < 0 for s in self.psf_sigma):
            msg = f"psf_sigma must hold {self.ndim} numbers from 0 up, got {self.psf_sigma!r}"
            raise InputError(msg)
        if self.sampling not in get_args(Sampling):
            msg = f"sampling must be one of {get_args(Sampling)}, got {self.sampling!r}"
            raise InputError(msg)
        if self.slice_profile not in get_args(SliceProfile):
            msg = (
                f"slice_profile must be one of {get_args(SliceProfile)}, got {self.slice_profile!r}"
            )
            raise InputError(msg)
        if self.slice_axis is not None:
            if not 0 <= self.slice_axis < self.ndim:
                msg = f"slice_axis must be 0 to {self.ndim - 1}, got {self.slice_axis}"
                raise InputError(msg)
            if not self.slice_fwhm > 0:
                msg = f"slice_fwhm must be above 0 fine pixels, got {self.slice_fwhm}"
                raise InputError(msg)
        if self.point_spread is not None and self.point_spread.ndim > self.ndim:
            msg = (
                f"point_spread has {self.point_spread.ndim} axes, but the factor only "
                f"{self.ndim}: take one plane of it, or its sum along an axis"
            )
            raise InputError(msg)
        if not 0 <= self.apodisation <= 1:
            msg = f"apodisation must be 0 to 1, got {self.apodisation}"
            raise InputError(msg)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.factor)

    @property
    def kernels(self) -> tuple[AxisKernel, ...]:
        """Return the kernel of each axis, the point spread function left out.

        Raises
        ------
        InputError
            If k-space is truncated: that has no finite kernel.
        """
        kernels: list[AxisKernel] = []
        for axis in range(self.ndim):
            steps = self.along(axis)
            last = steps[-1]
            if isinstance(last, KSpaceTruncation):
                msg = f"axis {axis} is sampled in k-space, which no finite kernel describes"
                raise InputError(msg)
            kernels.append(last)
        return tuple(kernels)

    def along(self, axis: int) -> tuple[AxisKernel | KSpaceTruncation, ...]:
        """Return what happens along an axis, in order."""
        factor, sigma = self.factor[axis], float(self.psf_sigma[axis])
        if axis == self.slice_axis:
            return (axis_kernel(factor, sigma, self.slice_profile, float(self.slice_fwhm)),)
        if self.sampling == "k-space":
            blur = axis_kernel(1, sigma, "point")
            # Along an axis of factor 1 the whole of k-space is recorded.
            return (blur, KSpaceTruncation(factor, self.apodisation)) if factor > 1 else (blur,)
        return (axis_kernel(factor, sigma, self.sampling),)

    def apply(self, fine: Tensor) -> Tensor:
        """Form the coarse image.

        Parameters
        ----------
        fine : Tensor
            Shape (..., *spatial), floating point; each spatial length must be a
            multiple of the factor.

        Returns
        -------
        Tensor
            Shape (..., *(spatial // factor)), same dtype and units.

        Raises
        ------
        InputError
            If a length is no multiple of the factor.
        """
        for axis, factor in enumerate(self.factor):
            length = fine.shape[axis - self.ndim]
            if length % factor or not length:
                msg = (
                    f"axis {axis} has {length} pixels, which is no multiple of the factor "
                    f"{factor}: crop it first"
                )
                raise InputError(msg)
        image = fine if self.point_spread is None else self.point_spread.apply(fine)
        for axis in range(self.ndim):
            for step in self.along(axis):
                image = step.collect(image, axis - self.ndim)
        # A result must never share its memory with the source.
        return image.clone() if image is fine else image

    def adjoint(self, coarse: Tensor) -> Tensor:
        """Apply the transposed operator, exact up to the borders.

        Parameters
        ----------
        coarse : Tensor
            Shape (..., *spatial), floating point.

        Returns
        -------
        Tensor
            Shape (..., *(spatial * factor)), so that
            ``(apply(x) * y).sum() == (x * adjoint(y)).sum()``.
        """
        image = coarse
        for axis in range(self.ndim):
            for step in reversed(self.along(axis)):
                image = step.spread(image, axis - self.ndim)
        if self.point_spread is not None:
            image = self.point_spread.adjoint(image)
        return image.clone() if image is coarse else image
