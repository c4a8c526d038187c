from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_hrsr.noise_level import estimate_noise


@pytest.mark.parametrize("name", ["camera", "moon", "coins"])
@pytest.mark.parametrize("sigma", [10, 20, 40])
def test_added_noise_is_found_within_15_per_cent(name, sigma):
    image = getattr(data, name)()[:256, :256].astype(float)
    # What the photograph itself holds adds up in squares.
    expected = np.hypot(sigma, estimate_noise(image))
    noisy = image + np.random.default_rng(0).normal(0, sigma, image.shape)
    assert estimate_noise(noisy) == pytest.approx(expected, rel=0.15)
    assert estimate_noise(noisy) == pytest.approx(sigma, rel=0.25)


def test_pure_noise_is_measured_exactly():
    noise = np.random.default_rng(0).normal(100, 3, (400, 400))
    assert estimate_noise(noise) == pytest.approx(3, rel=0.03)


@pytest.mark.parametrize("offset", [-1e6, 1e6])
def test_a_high_offset_does_not_swallow_the_noise(offset):
    noise = np.random.default_rng(0).normal(offset, 1, (400, 400))
    assert estimate_noise(noise) == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("name", ["camera", "moon", "coins"])
@pytest.mark.parametrize("photons", [50, 500])
def test_of_photon_noise_the_root_mean_square_is_found(name, photons):
    # Mostly dark, so that the noise of a typical pixel is far below that of the bright ones.
    clean = (getattr(data, name)()[:256, :256] / 255.0) ** 3
    noisy = np.random.default_rng(0).poisson(clean * photons) / photons
    expected = np.sqrt(np.mean(clean / photons))
    assert estimate_noise(noisy) == pytest.approx(expected, rel=0.2)


def test_texture_that_fills_the_plane_is_told_from_noise():
    # Binned and blurred: detail everywhere, but less of it at the highest frequencies.
    texture = gaussian_filter(data.gravel().astype(float), 1.5)[::2, ::2]
    assert estimate_noise(texture) < 0.03 * texture.std()
    noisy = texture + np.random.default_rng(0).normal(0, 5, texture.shape)
    assert estimate_noise(noisy) == pytest.approx(5, rel=0.1)


def test_padding_and_saturation_are_left_out():
    plane = np.random.default_rng(0).normal(10, 2, (300, 300))
    plane[:, :150] = 0
    plane[200:, 200:] = 100
    assert estimate_noise(plane) == pytest.approx(2, rel=0.1)


def test_a_few_hot_pixels_do_not_pass_for_noise():
    rng = np.random.default_rng(0)
    plane = rng.normal(100, 1, (400, 400))
    plane[rng.random(plane.shape) < 1e-4] += 1000
    assert estimate_noise(plane) == pytest.approx(1, rel=0.1)


def test_clean_structure_is_not_reported_as_noise():
    y, x = np.mgrid[:200, :200]
    blobs = np.exp(-((x % 40 - 20) ** 2 + (y % 40 - 20) ** 2) / 50.0)
    edges = (x // 25 % 2).astype(float)
    ramp = 0.3 * x + 0.7 * y
    assert estimate_noise(blobs) < 0.002
    assert estimate_noise(edges) < 1e-6
    assert estimate_noise(ramp) < 1e-4


def test_flat_tiny_and_broken_planes_have_no_noise():
    assert estimate_noise(np.full((50, 50), 7, np.uint16)) == 0
    assert estimate_noise(np.ones((6, 100))) == 0
    assert estimate_noise(np.full((20, 20), np.nan)) == 0
    assert estimate_noise(np.zeros((10, 10))) == 0
    assert estimate_noise(np.zeros((3, 20, 20))) == 0


def test_pixels_that_are_not_finite_are_left_out():
    noise = np.random.default_rng(0).normal(0, 3, (200, 200))
    noise[50:60, 50:60] = np.nan
    noise[100, 100] = np.inf
    assert estimate_noise(noise) == pytest.approx(3, rel=0.06)


@settings(max_examples=25, deadline=None)
@given(gain=st.floats(0.01, 100), offset=st.floats(-100, 100), seed=st.integers(0, 50))
def test_scales_with_the_gain_and_ignores_the_offset(gain, offset, seed):
    plane = np.random.default_rng(seed).random((40, 50))
    expected = gain * estimate_noise(plane)
    assert estimate_noise(gain * plane + offset) == pytest.approx(expected, rel=0.02, abs=1e-4)


def test_integers_are_not_wrapped():
    noise = np.random.default_rng(0).normal(100, 10, (200, 200)).round().astype(np.uint8)
    assert estimate_noise(noise) == pytest.approx(10, rel=0.05)
