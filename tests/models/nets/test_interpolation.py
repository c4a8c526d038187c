from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hrsr.models.nets.interpolation import Interpolation, interpolation_halo, phase_weights

METHODS = ["nearest", "linear", "cubic", "lanczos"]


@pytest.mark.parametrize(("method", "mode"), [("cubic", "bicubic"), ("linear", "bilinear")])
def test_equals_torch_antialiased_inside(method, mode):
    x = torch.rand(2, 3, 17, 19, dtype=torch.float64)
    ours = Interpolation(2, (2, 3), method)(x)
    theirs = F.interpolate(x, scale_factor=(2, 3), mode=mode, antialias=True)
    assert torch.allclose(ours[..., 6:-6, 9:-9], theirs[..., 6:-6, 9:-9], atol=1e-13)


def test_nearest_equals_torch():
    x = torch.rand(2, 3, 4, 5, 6)
    theirs = F.interpolate(x, scale_factor=(1, 2, 3), mode="nearest-exact")
    assert torch.equal(Interpolation(3, (1, 2, 3), "nearest")(x), theirs)


@settings(max_examples=40, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    scale=st.sampled_from([(2, 2), (4, 1, 1), (1, 2, 2), (2, 2, 2), (3, 1), (1, 1)]),
    value=st.floats(-1e4, 1e4, width=32),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_constants_are_kept_exactly(method, scale, value, dtype):
    x = torch.full((2, 1, *(5,) * len(scale)), value, dtype=dtype)
    y = Interpolation(len(scale), scale, method)(x)
    assert y.shape[2:] == tuple(5 * k for k in scale)
    assert y.dtype == dtype
    assert torch.equal(y, x.flatten()[0].expand_as(y))


@pytest.mark.parametrize("method", ["linear", "cubic", "lanczos"])
def test_a_ramp_stays_a_ramp_aligned_by_areas(method):
    x = torch.arange(20, dtype=torch.float64).reshape(1, 1, 20, 1).expand(1, 1, 20, 3)
    y = Interpolation(2, (4, 1), method)(x)[0, 0, 16:-16, 1]
    expected = (torch.arange(80, dtype=torch.float64) + 0.5)[16:-16] / 4 - 0.5
    # Lanczos' weights reproduce constants, and ramps nearly.
    assert torch.allclose(y, expected, atol=0.02 if method == "lanczos" else 1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [(2, 2), (1, 3)])
def test_halo_is_exact(method, scale):
    network = Interpolation(2, scale, method)
    assert network.halo == interpolation_halo(method, scale)
    for axis, (halo, k) in enumerate(zip(network.halo, scale, strict=True)):
        x = torch.rand(1, 1, 21, 21)
        output = [slice(None)] * 4
        output[2 + axis] = slice(10 * k, 11 * k)
        before = network(x)[tuple(output)]
        for distance, changes in ((halo, True), (halo + 1, False)):
            y = x.clone()
            y.select(2 + axis, 10 + distance).add_(1)
            assert torch.equal(network(y)[tuple(output)], before) is not changes


def test_rows_of_weights_add_up_to_one():
    for method in METHODS:
        for factor in range(1, 6):
            _, weights = phase_weights(method, factor)
            assert weights.sum(1) == pytest.approx([1] * factor)


def test_tiny_axes_are_continued_by_their_edge():
    assert Interpolation(2, (2, 2), "lanczos")(torch.ones(1, 1, 1, 1)).tolist() == [[[[1, 1]] * 2]]


def test_gradient_flows_to_the_input():
    x = torch.rand(1, 1, 6, 6, requires_grad=True)
    Interpolation(2, (2, 2))(x).sum().backward()
    assert torch.allclose(x.grad.sum(), torch.tensor(144.0))


@pytest.mark.parametrize(
    "arguments", [(2, (2, 2, 2), "cubic"), (2, (0, 2), "cubic"), (2, (2, 2), "spline")]
)
def test_senseless_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="must"):
        Interpolation(*arguments)
