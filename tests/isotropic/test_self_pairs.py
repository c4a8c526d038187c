"""What a network learns from is what the stack was recorded like."""

from __future__ import annotations

import numpy as np
import pytest

from napari_hrsr.axes import resolve_axes
from napari_hrsr.forward import AxialProfile, slice_matrix
from napari_hrsr.intensity import Intensity, measure_intensity
from napari_hrsr.isotropic.self_pairs import SelfPairs, open_stack, record_slice
from napari_hrsr.isotropic.stack import describe_stack

PROFILE = AxialProfile("gaussian", 1.0)


def pairs_of(volume: np.ndarray, spacing: tuple[float, ...], noise: float = 0.0) -> SelfPairs:
    axes = resolve_axes("ZYX", 3)
    stack = describe_stack(volume.shape, spacing)
    levels = Intensity(np.array(0.0), np.array(1.0), np.array(noise))
    return SelfPairs(volume, axes, stack, PROFILE, levels, range(len(volume)))


def test_whole_ratios_learn_from_the_pixels_themselves() -> None:
    plane = np.random.default_rng(0).random((40, 30)).astype(np.float32)
    stack = describe_stack((9, 40, 30), (4.0, 1.0, 1.0))
    coarse, fine = record_slice(plane, stack, PROFILE, 1)
    assert np.array_equal(fine, plane)
    assert np.allclose(coarse, slice_matrix(PROFILE, 4, 10, 40) @ plane, atol=1e-6)


def test_other_ratios_learn_from_a_finer_grid_over_the_same_place() -> None:
    line = np.cos(np.arange(52) / 9)
    stack = describe_stack((9, 52, 30), (2.6, 1.0, 1.0))
    coarse, fine = record_slice(
        np.repeat(line[:, None], 30, 1).astype(np.float32), stack, PROFILE, 1
    )
    assert (coarse.shape, fine.shape) == ((20, 30), (60, 30))
    expected = np.cos(((np.arange(60) + 0.5) * 2.6 / 3 - 0.5) / 9)
    assert np.allclose(fine[2:-2, 0], expected[2:-2], atol=1e-3)
    # The mean of a slice's three fine pixels is close to what the slice recorded.
    assert np.allclose(fine.reshape(20, 3, 30).mean(1)[1:-1], coarse[1:-1], atol=0.02)


def test_a_pair_is_as_noisy_as_the_stack() -> None:
    sigma = 0.1
    volume = np.random.default_rng(0).normal(0.5, sigma, (12, 160, 160)).astype(np.float32)
    pairs = pairs_of(volume, (4.0, 1.0, 1.0), noise=sigma)
    window = [slice(0, 160)] * 2
    pair = pairs.make((), 5, 1, window, np.random.default_rng(1))
    assert pair.coarse.std() == pytest.approx(sigma, rel=0.05)
    assert pair.noise == pytest.approx(sigma)
    louder = pairs.make((), 5, 1, window, np.random.default_rng(1), louder=1.5)
    assert louder.coarse.std() == pytest.approx(1.5 * sigma, rel=0.05)
    assert louder.noise == pytest.approx(1.5 * sigma)


def test_both_axes_of_the_slices_are_learned_from() -> None:
    volume = np.zeros((8, 48, 48), np.float32)
    volume[:, ::2] = 1.0  # stripes along x: they fade only where y is recorded coarsely
    pairs = pairs_of(volume, (4.0, 1.0, 1.0))
    rng = np.random.default_rng(0)
    contrasts = {round(float(pairs(rng).coarse.std()), 2) for _ in range(20)}
    assert min(contrasts) < 0.1
    assert max(contrasts) > 0.4


def test_slices_that_are_measured_on_are_not_learned_from() -> None:
    rng = np.random.default_rng(0)
    volume = rng.random((3, 20, 40, 40)).astype(np.float32)
    axes = resolve_axes("CZYX", 3)
    stack = describe_stack((20, 40, 40), (3.0, 1.0, 1.0))
    data = open_stack(volume, axes, stack, PROFILE, measure_intensity(volume, axes), 0)
    held = {int(image.name.split()[1].strip(",")) for image in data.validation}
    assert held
    assert isinstance(data.make_pair, SelfPairs)
    assert held.isdisjoint(data.make_pair.slices)
    assert len(held) + len(data.make_pair.slices) == 20
    again = open_stack(volume, axes, stack, PROFILE, measure_intensity(volume, axes), 0)
    assert np.array_equal(again.validation[0].pair.coarse, data.validation[0].pair.coarse)
