"""The instrument: how a fine image becomes the coarse one that was recorded.

Everything here is linear, and every operator has an exact adjoint. A
:class:`ForwardModel` is a point spread function, which may be any kernel,
followed by what is separable: along each axis either one short kernel, into
which Gaussian blur, the profile of a slice and the area of a pixel are folded,
or the truncation of k-space.
"""

from napari_hrsr.forward.axial import AxialProfile, ProfileKind, slice_matrix
from napari_hrsr.forward.axis_kernels import AxisKernel, axis_kernel, keys_cubic
from napari_hrsr.forward.gram import Gram, gram_of, has_stencil
from napari_hrsr.forward.instrument import (
    Instrument,
    check_instrument,
    describe_instrument,
    read_instrument,
)
from napari_hrsr.forward.k_space import KSpaceTruncation
from napari_hrsr.forward.model import ForwardModel, Sampling, SliceProfile
from napari_hrsr.forward.optics import Microscope
from napari_hrsr.forward.point_spread import PointSpread, gibson_lanni_shape
from napari_hrsr.forward.solving import AIM, NEAR, Solver, find_weight

__all__ = [
    "AIM",
    "NEAR",
    "AxialProfile",
    "AxisKernel",
    "ForwardModel",
    "Gram",
    "Instrument",
    "KSpaceTruncation",
    "Microscope",
    "PointSpread",
    "ProfileKind",
    "Sampling",
    "SliceProfile",
    "Solver",
    "axis_kernel",
    "check_instrument",
    "describe_instrument",
    "find_weight",
    "gibson_lanni_shape",
    "gram_of",
    "has_stencil",
    "keys_cubic",
    "read_instrument",
    "slice_matrix",
]
