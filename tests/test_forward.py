from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hrsr.errors import InputError
from napari_hrsr.forward import ForwardModel, axis_kernel, keys_cubic


@settings(max_examples=60, deadline=None)
@given(
    factor=st.tuples(*[st.integers(1, 5)] * 3),
    sigma=st.tuples(*[st.sampled_from([0.0, 0.3, 0.8, 2.5])] * 3),
    coarse=st.tuples(*[st.integers(1, 5)] * 3),
    sampling=st.sampled_from(["area", "point", "bicubic"]),
    slice_axis=st.sampled_from([None, 0, 2]),
    profile=st.sampled_from(["gaussian", "box"]),
    fwhm=st.floats(0.5, 6),
    seed=st.integers(0, 99),
)
def test_adjoint_is_exact_borders_included(
    factor, sigma, coarse, sampling, slice_axis, profile, fwhm, seed
):
    model = ForwardModel(factor, sigma, sampling, slice_axis, fwhm, profile)
    generator = torch.Generator().manual_seed(seed)
    shape = [k * n for k, n in zip(factor, coarse, strict=True)]
    x = torch.rand(2, *shape, dtype=torch.float64, generator=generator)
    y = torch.rand(2, *coarse, dtype=torch.float64, generator=generator)
    left, right = (model.apply(x) * y).sum(), (x * model.adjoint(y)).sum()
    assert model.apply(x).shape == y.shape
    assert model.adjoint(y).shape == x.shape
    assert float(left) == pytest.approx(float(right), rel=1e-12)


@pytest.mark.parametrize("sampling", ["area", "point", "bicubic"])
def test_constants_are_kept(sampling):
    model = ForwardModel((2, 3), (0.8, 1.5), sampling)
    y = model.apply(torch.full((8, 9), 0.7, dtype=torch.float64))
    assert torch.allclose(y, torch.full_like(y, 0.7), atol=1e-14)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bicubic_is_torch_antialiased_bicubic_inside(factor):
    x = torch.rand(1, 1, 60, 60, dtype=torch.float64)
    ours = ForwardModel((factor, factor), sampling="bicubic").apply(x)
    theirs = F.interpolate(x, scale_factor=1 / factor, mode="bicubic", antialias=True)
    assert torch.allclose(ours[..., 4:-4, 4:-4], theirs[..., 4:-4, 4:-4], atol=1e-13)


def test_area_is_the_mean_of_blocks():
    x = torch.rand(4, 6, dtype=torch.float64)
    expected = x.reshape(2, 2, 2, 3).mean(dim=(1, 3))
    assert torch.allclose(ForwardModel((2, 3)).apply(x), expected)


def test_kernels_are_centred_on_the_coarse_pixel():
    for shape, fwhm in (("area", 0), ("point", 0), ("bicubic", 0), ("gaussian", 3.0), ("box", 2.6)):
        for factor in (1, 2, 3, 4):
            kernel = axis_kernel(factor, 0.7, shape, fwhm)
            position = kernel.origin + np.arange(len(kernel.taps))
            assert np.dot(kernel.taps, position) == pytest.approx((factor - 1) / 2, abs=1e-12)
            assert sum(kernel.taps) == pytest.approx(1)


def test_slice_profile_has_the_width_asked_for():
    gaussian = axis_kernel(4, 0.0, "gaussian", 4.0)
    position = gaussian.origin + np.arange(len(gaussian.taps)) - 1.5
    width = np.sqrt(np.dot(gaussian.taps, position**2)) * np.sqrt(8 * np.log(2))
    assert width == pytest.approx(4.0, rel=0.01)
    assert axis_kernel(4, 0.0, "box", 4.0).taps == pytest.approx((0.25,) * 4)
    assert axis_kernel(3, 0.0, "box", 2.0).taps == pytest.approx((0.25, 0.5, 0.25))


def test_matrix_is_the_operator_without_borders():
    kernel = ForwardModel((2,), (0.8,), "bicubic").kernels[0]
    x = torch.rand(40, dtype=torch.float64)
    whole = ForwardModel((2,), (0.8,), "bicubic").apply(x).numpy()
    matrix = kernel.matrix(5)
    start = 2 * 7 + kernel.origin
    assert np.allclose(matrix @ x.numpy()[start : start + matrix.shape[1]], whole[7:12])


def test_keys_kernel_interpolates():
    assert keys_cubic(np.array([0.0, 1.0, 2.0, 3.0])) == pytest.approx([1, 0, 0, 0])


@pytest.mark.parametrize(
    "arguments",
    [
        {"factor": (0, 2)},
        {"factor": ()},
        {"factor": (2, 2), "psf_sigma": (1.0,)},
        {"factor": (2, 2), "psf_sigma": (1.0, -1.0)},
        {"factor": (2, 2), "sampling": "magic"},
        {"factor": (2, 2), "slice_axis": 2, "slice_fwhm": 2.0},
        {"factor": (2, 2), "slice_axis": 0},
    ],
)
def test_senseless_instruments_are_refused(arguments):
    with pytest.raises(InputError):
        ForwardModel(**arguments)


def test_lengths_that_are_no_multiple_are_refused():
    with pytest.raises(InputError, match="axis 1 has 5 pixels"):
        ForwardModel((2, 2)).apply(torch.zeros(4, 5))
