"""Known shifts are recovered, and what does not belong together is told apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, rotate
from skimage import data

from napari_hrsr.training.collection import open_collection
from napari_hrsr.training.registration import (
    LARGEST_DEVIATION,
    SAME_FIELD,
    register,
    usable_range,
)
from napari_hrsr.training.resampling import average_blocks
from napari_hrsr.training.training_image import TrainingImage


def opened(pixels):
    return TrainingImage("s", "n", pixels.astype(np.float32), 0.0, 1.0)


def moved(image, shift):
    """Return image(x + shift), by the exact shift of a periodic function."""
    spectrum = np.fft.fftn(image)
    for axis, t in enumerate(shift):
        frequency = np.fft.fftfreq(image.shape[axis])
        shape = [-1 if a == axis else 1 for a in range(image.ndim)]
        spectrum = spectrum * np.exp(2j * np.pi * frequency * t).reshape(shape)
    return np.fft.ifftn(spectrum).real


def recorded(fine, shift, scale, rng, *, noise=0.05, blur=0.5, margin=8):
    """Record the moved image in gain 100 and offset 20; `margin` coarse pixels are lost."""
    seen = moved(gaussian_filter(fine.astype(float), blur), shift)
    inner = tuple(
        slice(margin * k, n // k * k - margin * k) for n, k in zip(fine.shape, scale, strict=True)
    )
    coarse = average_blocks(seen[inner], scale)
    return (coarse + rng.normal(0, noise, coarse.shape)) * 100 + 20


def error(found, shift, scale, margin=8):
    """Largest error in coarse pixels."""
    true = np.array(shift) + margin * np.array(scale)
    return float(np.abs((np.array(found.shift) - true) / scale).max())


@settings(max_examples=8)
@given(
    y=st.floats(-9, 9), x=st.floats(-9, 9), k=st.sampled_from([1, 2, 3, 4]), seed=st.integers(0, 9)
)
def test_a_shift_gain_and_offset_are_recovered(y, x, k, seed):
    fine = data.camera()[: 360 // k * k, 40 : 40 + 360 // k * k] / 255.0
    coarse = recorded(fine, (y, x), (k, k), np.random.default_rng(seed))
    found = register(opened(coarse), opened(fine), (k, k))
    assert error(found, (y, x), (k, k)) < 0.05
    assert found.gain == pytest.approx(100, rel=0.03)
    assert found.offset == pytest.approx(20, abs=2)
    assert found.correlation > 0.9
    assert found.deviation < LARGEST_DEVIATION


@pytest.mark.parametrize(
    ("scale", "shift"), [((2, 2, 2), (1.3, -3.6, 2.2)), ((4, 1, 1), (5, 3.3, -2.4))]
)
def test_volumes_are_registered_too(scale, shift):
    rng = np.random.default_rng(0)
    fine = gaussian_filter(rng.normal(size=(96, 96, 96)), 2, mode="wrap")
    fine /= 4 * fine.std()
    coarse = recorded(fine, shift, scale, rng, margin=4)
    found = register(opened(coarse), opened(fine), scale)
    assert error(found, shift, scale, margin=4) < 0.05


def test_a_large_shift_is_found():
    fine = data.camera() / 255.0
    found = register(opened(average_blocks(fine[110:, :400], (2, 2))), opened(fine), (2, 2))
    assert found.shift == pytest.approx((110, 0), abs=0.05)


def test_colours_are_registered_by_their_mean():
    fine = data.astronaut().transpose(2, 0, 1)[:, :256, 60:316] / np.float32(255)
    coarse = average_blocks(np.roll(fine, (3, -4), (1, 2)), (2, 2))[:, 8:-8, 8:-8]
    images = [TrainingImage("s", "n", p, 0.0, 1.0, channels=3) for p in (coarse, fine)]
    assert register(*images, (2, 2)).shift == pytest.approx((16 - 3, 16 + 4), abs=0.1)


@pytest.mark.parametrize(("angle", "accepted"), [(0, True), (0.05, True), (0.7, False), (2, False)])
def test_a_rotation_shows(angle, accepted):
    fine = data.camera()[:320, 60:380] / 255.0
    turned = rotate(fine, angle, reshape=False, order=3, mode="reflect")
    found = register(opened(average_blocks(turned, (2, 2))), opened(fine), (2, 2))
    good = found.correlation >= SAME_FIELD and found.deviation <= LARGEST_DEVIATION
    assert good is accepted


def test_of_a_large_image_the_piece_with_something_to_see_decides():
    rng = np.random.default_rng(0)
    fine = np.zeros((600, 2600), np.float32)
    fine[44:556, 2000:2512] = data.camera() / 255.0
    coarse = average_blocks(fine[3:-1, 1:-3], (2, 2))
    coarse = coarse + rng.normal(0, 0.02, coarse.shape)
    found = register(opened(coarse), opened(fine), (2, 2))
    assert found.shift == pytest.approx((3, 1), abs=0.05)
    assert found.correlation > 0.9


def test_what_has_nothing_in_common_does_not_correlate():
    scenes = [data.camera()[150:350, 150:350], data.coins()[:200, :200], data.moon()[:200, :200]]
    scenes = [s / 255.0 for s in scenes]
    for one, other in itertools.permutations(scenes, 2):
        shape = tuple(min(a, b) // 2 * 2 for a, b in zip(one.shape, other.shape, strict=True))
        window = tuple(slice(0, n) for n in shape)
        coarse = average_blocks(one[window], (2, 2))
        found = register(opened(coarse), opened(other[window]), (2, 2))
        assert found.correlation < SAME_FIELD - 0.1


def test_a_flat_image_does_not_correlate():
    found = register(opened(np.ones((64, 64))), opened(data.camera()[:128, :128]), (2, 2))
    assert found.correlation == pytest.approx(0, abs=0.01)


@given(
    n=st.integers(1, 50), length=st.integers(1, 200), k=st.integers(1, 4), t=st.floats(-100, 100)
)
def test_usable_pixels_lie_on_the_fine_image(n, length, k, t):
    (used,) = usable_range((n,), (length,), (k,), (t,))
    assert 0 <= used.start <= used.stop
    for i in range(n):
        inside = i * k + t >= 0 and (i + 1) * k + t <= length
        almost = i * k + t >= -0.1 and (i + 1) * k + t <= length + 0.1
        if inside:
            assert used.start <= i < used.stop
        if not almost:
            assert not used.start <= i < used.stop


def test_real_images_match_themselves_and_nothing_else(data_folder):
    rng = np.random.default_rng(0)
    names = [
        "neubias__xy_8bit__nuclei_PLK1_control.tif",
        "neubias__xy_16bit__scanR_datatype_issue.tif",
        "usiigaci__set1_raw.tif",
        "neubias__xy_8bit__em_mitochondria_er.tif",
    ]
    images = open_collection([data_folder / "2d" / n for n in names], ndim=2).images
    fine = [image.read((slice(100, 356), slice(100, 356))) for image in images]
    shift = (2.7, -5.2)
    coarse = [recorded(f, shift, (2, 2), rng) for f in fine]
    for i, j in itertools.product(range(len(names)), repeat=2):
        found = register(opened(coarse[i]), opened(fine[j]), (2, 2))
        if i == j:
            assert found.correlation > SAME_FIELD + 0.2
            assert error(found, shift, (2, 2)) < 0.05
        else:
            assert found.correlation < SAME_FIELD - 0.2
