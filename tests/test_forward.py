from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_hrsr.errors import InputError
from napari_hrsr.forward import ForwardModel, PointSpread, axis_kernel, keys_cubic

SAMPLINGS = ["area", "point", "bicubic", "k-space"]
LOPSIDED = PointSpread(np.arange(1.0, 16.0).reshape(5, 3) % 7)


@settings(max_examples=80)
@given(data=st.data())
def test_adjoint_is_exact_borders_included(data):
    ndim = data.draw(st.integers(1, 3))
    axes = lambda values: st.tuples(*[values] * ndim)  # noqa: E731
    factor = data.draw(axes(st.integers(1, 5)))
    coarse = data.draw(axes(st.integers(1, 5)))
    sides = data.draw(st.lists(st.sampled_from([1, 3, 5]), max_size=ndim))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    model = ForwardModel(
        factor,
        data.draw(axes(st.sampled_from([0.0, 0.3, 0.8, 2.5]))),
        data.draw(st.sampled_from(SAMPLINGS)),
        data.draw(st.sampled_from([None, 0, ndim - 1])),
        data.draw(st.floats(0.5, 6)),
        data.draw(st.sampled_from(["gaussian", "box"])),
        PointSpread(rng.random(sides)) if sides else None,
        data.draw(st.sampled_from([0.0, 0.4, 1.0])),
    )
    shape = [k * n for k, n in zip(factor, coarse, strict=True)]
    x, y = torch.from_numpy(rng.random((2, *shape))), torch.from_numpy(rng.random((2, *coarse)))
    left, right = (model.apply(x) * y).sum(), (x * model.adjoint(y)).sum()
    assert model.apply(x).shape == y.shape
    assert model.adjoint(y).shape == x.shape
    assert float(left) == pytest.approx(float(right), rel=1e-11)


def test_the_gradient_is_the_adjoint():
    model = ForwardModel((2, 3), (0.8, 0.0), "k-space", point_spread=LOPSIDED, apodisation=0.5)
    x = torch.rand(6, 9, dtype=torch.float64, requires_grad=True)
    y = torch.rand(3, 3, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((model.apply(x) * y).sum(), x)
    assert torch.allclose(gradient, model.adjoint(y), atol=1e-13)


@pytest.mark.parametrize("point_spread", [None, LOPSIDED])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_constants_are_kept(sampling, point_spread):
    model = ForwardModel((2, 3), (0.8, 1.5), sampling, point_spread=point_spread, apodisation=0.6)
    y = model.apply(torch.full((8, 9), 0.7, dtype=torch.float64))
    assert torch.allclose(y, torch.full_like(y, 0.7), atol=1e-14)


@pytest.mark.parametrize(
    "point_spread", [None, PointSpread.airy_disk(1.7), PointSpread.gaussian((1.0, 2.0))]
)
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("factor", [(2, 3), (4, 1), (1, 5)])
def test_a_blob_keeps_its_place_in_the_world(factor, sampling, point_spread):
    place = (28.3, 33.9)
    rows, columns = torch.meshgrid(*[torch.arange(60.0, dtype=torch.float64)] * 2, indexing="ij")
    blob = torch.exp(-((rows - place[0]) ** 2 + (columns - place[1]) ** 2) / 50)
    coarse = ForwardModel(factor, (0.7, 0.7), sampling, point_spread=point_spread).apply(blob)
    for axis, length in enumerate(coarse.shape):
        # Outer edges coincide: coarse pixel i is centred on fine (i + 0.5) * factor - 0.5.
        position = (torch.arange(length) + 0.5) * factor[axis] - 0.5
        along = coarse.sum(1 - axis)
        assert float((along * position).sum() / along.sum()) == pytest.approx(place[axis], abs=0.01)


@pytest.mark.parametrize("point_spread", [None, PointSpread.airy_disk(1.7)])
@pytest.mark.parametrize("sampling", ["area", "point", "bicubic"])
def test_a_ramp_is_sampled_at_the_centres_of_the_coarse_pixels(sampling, point_spread):
    ramp = torch.arange(90.0, dtype=torch.float64).expand(90, 90)
    coarse = ForwardModel((2, 3), (0.7, 0.7), sampling, point_spread=point_spread).apply(ramp)
    centres = (torch.arange(30, dtype=torch.float64) + 0.5) * 3 - 0.5
    assert torch.allclose(coarse[22, 8:-8], centres[8:-8], atol=1e-9)


def test_k_space_keeps_what_the_coarse_grid_can_hold_and_nothing_else():
    model = ForwardModel((3,), sampling="k-space")
    fine, coarse = (torch.arange(n, dtype=torch.float64) + 0.5 for n in (24, 8))
    for frequency in range(24):
        wave = torch.cos(torch.pi * frequency * fine / 24)
        kept = torch.cos(torch.pi * frequency * coarse / 8) * (frequency < 8)
        assert torch.allclose(model.apply(wave), kept, atol=1e-13)


@pytest.mark.parametrize(("length", "factor"), [(20, 2), (21, 3), (15, 5), (24, 3)])
def test_k_space_is_a_crop_of_the_fourier_transform_of_the_mirrored_image(length, factor):
    x = np.random.default_rng(0).random(length)
    mirrored = np.concatenate([x, x[::-1]])
    frequency = np.fft.fftfreq(2 * length)
    spectrum = np.fft.fft(mirrored, norm="ortho")
    # The first coarse pixel is centred half a coarse pixel from the edge, not half a fine one.
    spectrum = spectrum * np.exp(2j * np.pi * frequency * (factor - 1) / 2)
    half = length // factor
    cropped = np.concatenate([spectrum[:half], [0], spectrum[-half + 1 :]])
    # An orthonormal transform of fewer values needs this to keep the mean.
    expected = np.fft.ifft(cropped, norm="ortho").real[:half] / np.sqrt(factor)
    ours = ForwardModel((factor,), sampling="k-space").apply(torch.from_numpy(x))
    assert ours.numpy() == pytest.approx(expected, abs=1e-13)


def test_apodisation_lessens_the_ringing_beside_an_edge():
    edge = (torch.arange(128) >= 61).to(torch.float64)
    ringing = [
        float(ForwardModel((4,), sampling="k-space", apodisation=a).apply(edge)[:12].abs().max())
        for a in (0.0, 0.5, 1.0)
    ]
    assert ringing[0] > 1.5 * ringing[1] > 5 * ringing[2]


def test_k_space_leaves_axes_of_factor_one_and_sliced_axes_to_themselves():
    x = torch.rand(4, 8, 6)
    assert torch.equal(ForwardModel((1, 1, 1), sampling="k-space").apply(x), x)
    both = ForwardModel((2, 1, 1), sampling="k-space", slice_axis=0, slice_fwhm=2.0).apply(x)
    assert torch.equal(both, ForwardModel((2, 1, 1), slice_axis=0, slice_fwhm=2.0).apply(x))
    with pytest.raises(InputError, match="axis 1 is sampled in k-space"):
        ForwardModel((1, 2), sampling="k-space").kernels  # noqa: B018


def test_a_point_spread_function_acts_in_front_of_the_sampling_along_the_last_axes():
    x = torch.rand(4, 8, 9, dtype=torch.float64)
    blurred = torch.from_numpy(
        np.stack([ndimage.convolve(p, LOPSIDED.kernel, mode="nearest") for p in x.numpy()])
    )
    expected = ForwardModel((2, 2, 3)).apply(blurred)
    ours = ForwardModel((2, 2, 3), point_spread=LOPSIDED).apply(x)
    assert torch.allclose(ours, expected, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_precision_of_the_image_is_kept(dtype, sampling):
    model = ForwardModel((2, 2), (0.5, 0.5), sampling, point_spread=LOPSIDED)
    x = torch.rand(3, 8, 8, dtype=torch.float64)
    y = model.apply(x.to(dtype))
    assert y.dtype == dtype
    assert torch.allclose(y.double(), model.apply(x), atol=4 * torch.finfo(dtype).eps)


def test_the_result_never_shares_memory_with_the_image():
    x = torch.zeros(4, 4)
    ForwardModel((1, 1)).apply(x).add_(1)
    ForwardModel((1, 1), point_spread=PointSpread(np.ones((1, 1)))).adjoint(x).add_(1)
    assert not x.any()


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
        {"factor": (2, 2), "apodisation": 1.5},
        {"factor": (2,), "point_spread": LOPSIDED},
    ],
)
def test_senseless_instruments_are_refused(arguments):
    with pytest.raises(InputError):
        ForwardModel(**arguments)


def test_lengths_that_are_no_multiple_are_refused():
    with pytest.raises(InputError, match="axis 1 has 5 pixels"):
        ForwardModel((2, 2)).apply(torch.zeros(4, 5))
