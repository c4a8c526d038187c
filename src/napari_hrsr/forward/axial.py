"""What a slice of a stack collects along the axis that it is coarse on.

Unlike `ForwardModel`, whose factors are whole numbers, slices may be any
distance apart. The first outer edges of both grids coincide::

    fine voxels    |  0  |  1  |  2  |  3  |  4  |  5  |  6  |  7  |
    slices         |       0       |       1       |       2       |
    centre of i    (i + 0.5) * ratio - 0.5,  here with a ratio of 2.6
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.errors import InputError

ProfileKind = Literal["gaussian", "box", "measured"]

_REACH = 4.0
"""Standard deviations to which a Gaussian is followed."""

_FWHM = math.sqrt(8 * math.log(2))
"""Full width at half maximum of a Gaussian of standard deviation one."""


@dataclass(frozen=True, slots=True)
class AxialProfile:
    """How much a slice collects from where, against the distance of the slices.

    Attributes
    ----------
    kind : str
        ``"gaussian"`` (selective excitation in MRI, optical sections),
        ``"box"`` (averaged or physical slices), ``"measured"``.
    fwhm : float
        Full width at half maximum over the distance of neighbouring slices:
        below 1 there are gaps between the slices, above 1 they overlap. Of a
        measured profile it is for information.
    samples : tuple of float
        A measured profile: an odd number of values with the middle of the
        slice in their middle.
    step : float
        Distance of its samples over the distance of the slices.

    Raises
    ------
    InputError
        If a value makes no sense.
    """

    kind: ProfileKind = "gaussian"
    fwhm: float = 1.0
    samples: tuple[float, ...] = ()
    step: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(ProfileKind):
            msg = f"the slice profile is one of {get_args(ProfileKind)}, got {self.kind!r}"
            raise InputError(msg)
        if not 0 < self.fwhm < math.inf:
            msg = f"the width of the slice profile must be above 0, got {self.fwhm}"
            raise InputError(msg)
        if self.kind == "measured":
            values = np.asarray(self.samples, dtype=float)
            if values.ndim != 1 or len(values) % 2 == 0:
                msg = "a measured profile needs an odd number of samples, its middle in the middle"
                raise InputError(msg)
            if not (np.isfinite(values).all() and values.min() >= 0 and values.max() > 0):
                msg = "a measured profile holds finite numbers from 0 up, not all of them 0"
                raise InputError(msg)
            if not self.step > 0:
                msg = f"the distance of a measured profile's samples must be above 0: {self.step}"
                raise InputError(msg)

    @property
    def reach(self) -> float:
        """Distance over that of the slices, beyond which nothing is collected."""
        if self.kind == "gaussian":
            return _REACH * self.fwhm / _FWHM
        if self.kind == "box":
            return self.fwhm / 2
        return self.step * (len(self.samples) + 1) / 2

    def weights(self, distance: NDArray[np.float64], ratio: float) -> NDArray[np.float64]:
        """Return what a slice collects from fine voxels.

        Parameters
        ----------
        distance : ndarray
            Of the voxels' centres from the slice's, in fine voxels.
        ratio : float
            Fine voxels from slice to slice.

        Returns
        -------
        ndarray
            Same shape; not normalised.
        """
        if self.kind == "gaussian":
            sigma = self.fwhm * ratio / _FWHM
            inside = np.abs(distance) <= _REACH * sigma
            return np.where(inside, np.exp(-0.5 * (distance / sigma) ** 2), 0.0)
        if self.kind == "box":
            # The part of each voxel that lies in the slice.
            width = self.fwhm * ratio
            return np.clip(width / 2 + 0.5 - np.abs(distance), 0.0, min(1.0, width))
        middle = len(self.samples) // 2
        at = (np.arange(-1, len(self.samples) + 1) - middle) * self.step * ratio
        return np.interp(distance, at, [0.0, *self.samples, 0.0])


def slice_matrix(
    profile: AxialProfile,
    ratio: float,
    slices: int,
    voxels: int,
    *,
    first_slice: int = 0,
    first_voxel: int = 0,
) -> NDArray[np.float64]:
    """Return the operator that makes slices of a fine line of voxels.

    Parameters
    ----------
    profile : AxialProfile
        Of a slice.
    ratio : float
        Fine voxels from slice to slice, 1 or more; it need not be whole.
    slices, voxels : int
        Number of rows and columns.
    first_slice, first_voxel : int
        Which slice and voxel of the whole stack the first row and column are.

    Returns
    -------
    ndarray, shape (slices, voxels)
        Rows add up to one. Beyond its ends the line is continued by its edge
        voxels, as in `ForwardModel`, to which it is equal for whole ratios.
    """
    centres = (first_slice + np.arange(slices) + 0.5) * ratio - 0.5 - first_voxel
    # Half a voxel more, where parts of voxels count, and one for rounding.
    reach = math.ceil(profile.reach * ratio + 0.5) + 1
    offsets = np.arange(-reach, reach + 1)
    nearest = np.round(centres).astype(int)
    positions = nearest[:, None] + offsets
    weights = profile.weights(positions - centres[:, None], ratio)
    total = weights.sum(1, keepdims=True)
    # A profile narrower than a voxel may fall between two centres.
    empty = total[:, 0] <= 0
    weights[empty], total[empty] = offsets == 0, 1.0
    matrix = np.zeros((slices, voxels))
    rows = np.broadcast_to(np.arange(slices)[:, None], positions.shape)
    np.add.at(matrix, (rows, np.clip(positions, 0, voxels - 1)), weights / total)
    return matrix
