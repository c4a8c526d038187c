from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_hrsr.errors import InputError
from napari_hrsr.training.spectrum import compare_rings


def scene(seed, shape):
    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), 0.7)


shapes = st.sampled_from([(32, 32), (40, 27), (33, 64), (16, 18, 20)])


@given(st.integers(0, 999), shapes, st.floats(0.1, 10), st.floats(-5, 5))
def test_an_image_scaled_and_shifted_holds_the_same_detail(seed, shape, gain, offset):
    truth = scene(seed, shape)
    rings = compare_rings(gain * truth + offset, truth)
    np.testing.assert_allclose(rings.correlation, 1, rtol=1e-6)
    assert rings.distance() == pytest.approx(abs(2 * np.log(gain)), abs=1e-5)
    assert rings.agreement() == pytest.approx(1)


@given(st.integers(0, 999), shapes)
def test_rings_do_not_depend_on_the_order_of_the_axes(seed, shape):
    truth, result = scene(seed, shape), scene(seed + 1, shape)
    rings, turned = compare_rings(result, truth), compare_rings(result.T, truth.T)
    np.testing.assert_allclose(turned.frequency, rings.frequency)
    np.testing.assert_allclose(turned.result_power, rings.result_power)
    np.testing.assert_allclose(turned.correlation, rings.correlation, atol=1e-9)
    assert (np.diff(rings.frequency) > 0).all()
    assert rings.frequency[0] >= 0
    assert rings.frequency[-1] <= 1
    assert np.abs(rings.correlation).max() <= 1


@pytest.mark.parametrize("shape", [(256, 256), (64, 64, 64)])
def test_the_correlation_is_that_of_theory(shape):
    # A scene with noise on it: correlation sqrt(S / (S + N)) with the scene.
    rng = np.random.default_rng(0)
    truth = rng.normal(size=shape)
    rings = compare_rings(truth + rng.normal(0, 1.5, shape), truth)
    assert rings.agreement() == pytest.approx((1 / (1 + 1.5**2)) ** 0.5, abs=0.02)
    assert rings.distance() == pytest.approx(np.log(1 + 1.5**2), rel=0.05)


def test_noise_brings_the_spectrum_nearer_and_the_correlation_down():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(128, 128))
    blurred = gaussian_filter(truth, 0.8)
    missing = truth.std() - blurred.std()
    noisy = blurred + rng.normal(0, missing, truth.shape)
    plain, filled = compare_rings(blurred, truth), compare_rings(noisy, truth)
    assert filled.distance() < 0.7 * plain.distance()
    assert filled.agreement() < plain.agreement() - 0.2


def test_a_wave_is_found_at_its_frequency():
    x = np.arange(96)
    wave = np.cos(2 * np.pi * x / 8) * np.ones((96, 1))
    rings = compare_rings(wave, wave)
    assert rings.frequency[rings.truth_power.argmax()] == pytest.approx(0.25, abs=0.02)


def test_a_flat_result_is_far_from_any_truth_but_not_infinitely():
    rings = compare_rings(np.zeros((32, 32)), scene(0, (32, 32)))
    assert 5 < rings.distance() < 100
    assert rings.agreement() == 0


def test_the_border_does_not_pass_for_detail():
    y, x = np.mgrid[:64, :64] / 64
    ramp = compare_rings(x + y, x + y)
    assert ramp.truth_power[ramp.frequency > 0.5].max() < 1e-6 * ramp.truth_power.max()


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ((32, 32), (32, 31), "differ"),
        ((8, 32), (8, 32), "at least 16"),
        ((64,), (64,), "2 or 3 axes"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(first, second, said):
    with pytest.raises(InputError, match=said):
        compare_rings(np.zeros(first), np.zeros(second))


def test_an_empty_band_is_refused():
    rings = compare_rings(scene(0, (32, 32)), scene(1, (32, 32)))
    with pytest.raises(InputError, match="band"):
        rings.distance((0.501, 0.502))
