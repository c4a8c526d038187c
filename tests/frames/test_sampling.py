"""The operators: exact adjoints, and the place of things."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.forward import ForwardModel, PointSpread
from napari_hrsr.frames.motions import Motion, about_centre
from napari_hrsr.frames.phases import sampling_phases
from napari_hrsr.frames.reconstructing import bends, bends_adjoint
from napari_hrsr.frames.sampling import TranslatedFrames
from napari_hrsr.frames.warping import WarpedFrames

shift = st.floats(-1.5, 1.5)


def dot(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() * b.double()).sum())


@given(
    shape=st.lists(st.integers(9, 40), min_size=2, max_size=3),
    factor=st.integers(2, 4),
    shifts=st.lists(st.tuples(shift, shift, shift), min_size=1, max_size=3),
    sigma=st.sampled_from([0.0, 0.8]),
)
def test_adjoint_is_exact(
    shape: list[int], factor: int, shifts: list[tuple[float, ...]], sigma: float
) -> None:
    shape = [min(n, 12) for n in shape] if len(shape) == 3 else shape
    n = len(shape)
    model = ForwardModel((factor,) * n, psf_sigma=(sigma,) * n)
    frames = TranslatedFrames.of(model, shape, np.array(shifts)[:, :n])
    fine = torch.randn([k * factor for k in shape], generator=torch.Generator().manual_seed(0))
    coarse = frames.apply(fine)
    assert coarse.shape == (len(shifts), *shape)
    other = torch.randn(coarse.shape, generator=torch.Generator().manual_seed(1))
    scale = float(coarse.norm() * other.norm())
    assert dot(coarse, other) == pytest.approx(dot(fine, frames.adjoint(other)), abs=1e-5 * scale)


def test_adjoint_is_exact_with_a_kernel_and_when_turned() -> None:
    model = ForwardModel((2, 2), point_spread=PointSpread.gaussian((1.0, 0.7)))
    turn = np.array([[np.cos(0.02), -np.sin(0.02)], [np.sin(0.02), np.cos(0.02)]])
    motion = Motion(np.array([0.3, -0.4]), turn, np.array([10.0, 8.0]))
    still = Motion(np.zeros(2), np.eye(2), np.zeros(2))
    offsets = np.zeros((2, 2), int)
    for frames in (
        TranslatedFrames.of(model, (20, 17), np.array([[0.0, 0.0], [0.3, -0.4]])),
        WarpedFrames.of(model, (20, 17), (0, 0), (still, motion), offsets),
    ):
        fine, other = torch.randn(40, 34), torch.randn(2, 20, 17)
        both = dot(frames.apply(fine), other), dot(fine, frames.adjoint(other))
        assert both[0] == pytest.approx(both[1], rel=1e-4, abs=1e-2)


@pytest.mark.parametrize("ndim", [2, 3])
def test_bends_have_an_exact_adjoint_and_forgive_slopes(ndim: int) -> None:
    image = torch.randn((9, 8, 7)[:ndim])
    field = torch.randn(bends(image).shape)
    assert dot(bends(image), field) == pytest.approx(dot(image, bends_adjoint(field)), abs=1e-3)
    ramp = sum(torch.meshgrid(*map(torch.arange, image.shape), indexing="ij")).float()
    assert bends(ramp).abs().max() < 1e-5


def test_a_frame_shows_a_ramp_where_the_shift_says() -> None:
    # A ramp is worth its position everywhere, so a frame shows where it looks.
    ramp = ((torch.arange(80.0) + 0.5) / 2 - 0.5).expand(80, 80)
    model = ForwardModel((2, 2))
    shown = TranslatedFrames.of(model, (40, 40), np.array([[0.0, 0.3]])).apply(ramp)[0]
    expected = torch.arange(40.0) - 0.3
    torch.testing.assert_close(shown[20, 6:-6], expected[6:-6], atol=0.02, rtol=0)
    motion = Motion(np.array([0.0, 0.3]), np.eye(2), np.zeros(2))
    warped = WarpedFrames.of(model, (40, 40), (0, 0), (motion,), np.zeros((1, 2), int)).apply(ramp)
    torch.testing.assert_close(warped[0, 20, 6:-6], expected[6:-6], atol=1e-3, rtol=0)


@given(
    angle=st.floats(-0.5, 0.5), stretch=st.floats(0.8, 1.2), y=st.floats(-9, 9), x=st.floats(-9, 9)
)
def test_motions_lead_back(angle: float, stretch: float, y: float, x: float) -> None:
    linear = stretch * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, (y, x)
    motion = about_centre(matrix, (30, 50))
    places = np.array([[0.0, 0.0], [7.0, 31.0]])
    np.testing.assert_allclose(motion.to_frame(places), places @ linear.T + (y, x), atol=1e-9)
    np.testing.assert_allclose(motion.to_reference(motion.to_frame(places)), places, atol=1e-9)


@given(whole=st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=9))
def test_whole_pixels_add_no_resolution(whole: list[tuple[int, int]]) -> None:
    phases = sampling_phases(np.array(whole, float))
    assert phases.adds == (False, False)
    assert phases.widest() == 0


def test_phases_say_along_which_axis_detail_is_gained() -> None:
    phases = sampling_phases(np.array([[0, 0], [3.0, 0.5], [1.0, 0.25], [0, 0.75]]))
    assert phases.adds == (False, True)
    assert "Along y" in phases.describe()
    assert phases.spread[1] == pytest.approx(1)
    # Shifts that are not known well enough tell nothing.
    assert sampling_phases(np.array([[0, 0], [0.06, 0.5]]), (0.1, 0.01)).adds == (False, True)
