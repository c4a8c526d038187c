from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation import decorrelate


def seen_through_a_lens(shape, cutoff, noise, seed=0):
    """Points behind the transfer function of an ideal lens, which ends at `cutoff`."""
    rng = np.random.default_rng(seed)
    radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")) / cutoff
    inside = np.minimum(radius, 1)
    transfer = 2 / np.pi * (np.arccos(inside) - inside * np.sqrt(1 - inside**2))
    points = (rng.random(shape) < 0.01) * rng.random(shape)
    image = np.fft.ifft2(np.fft.fft2(points) * transfer).real
    return image + rng.normal(0, noise * image.std(), shape)


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("cutoff", [0.15, 0.25, 0.35])
def test_the_cutoff_of_a_lens_is_found(cutoff, noise):
    # The last tenth of a transfer function is below any noise.
    found = decorrelate(seen_through_a_lens((400, 371), cutoff, noise))
    assert 0.84 < found.cutoff / cutoff < 1.0
    assert found.resolution == pytest.approx(1 / found.cutoff)


@settings(max_examples=10)
@given(size=st.floats(0.01, 100), gain=st.floats(0.01, 100), offset=st.floats(-100, 100))
def test_the_answer_is_in_world_units_and_ignores_gain_and_offset(size, gain, offset):
    image = seen_through_a_lens((120, 131), 0.2, 0.1)
    plain = decorrelate(image)
    found = decorrelate(gain * image + offset, voxel_size=size)
    assert found.resolution == pytest.approx(plain.resolution * size, rel=1e-3)
    assert found.nyquist == pytest.approx(0.5 / size)


def test_pixels_that_are_not_square_are_measured_in_the_world():
    image = seen_through_a_lens((400, 400), 0.12, 0.05)
    square = decorrelate(image).cutoff
    # Every other line, noise and all: twice as coarse along y.
    assert decorrelate(image[::2], voxel_size=(2, 1)).cutoff == pytest.approx(square, rel=0.1)


def test_noise_lowers_the_amplitude():
    clean, noisy = (decorrelate(seen_through_a_lens((200, 200), 0.2, n)) for n in (0.05, 1.0))
    assert clean.amplitude > noisy.amplitude + 0.1
    assert 0 < noisy.amplitude < clean.amplitude < 1


def test_slices_of_a_volume_are_measured_together():
    planes = [seen_through_a_lens((150, 160), 0.2, 0.1, seed=s) for s in range(5)]
    alone = np.median([decorrelate(plane).cutoff for plane in planes])
    volume = decorrelate(np.stack(planes), voxel_size=(5, 1, 1))
    assert volume.cutoff == pytest.approx(alone, rel=0.1)
    single = decorrelate(planes[0][None])
    assert single.cutoff == pytest.approx(decorrelate(planes[0]).cutoff, rel=1e-9)


def test_noise_alone_says_so_or_ends_at_the_pixels():
    found = decorrelate(np.random.default_rng(0).normal(size=(200, 200)))
    assert np.isnan(found.cutoff) or found.cutoff > 0.4
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.ones((50, 50)), "constant"),
        (np.full((50, 50), np.inf), "not finite"),
        (np.random.default_rng(0).random((50, 4)), "at least 8"),
    ],
)
def test_what_cannot_be_measured_is_refused(image, message):
    with pytest.raises(InputError, match=message):
        decorrelate(image)


def test_a_real_image_is_measured_as_nanopyx_does(data_folder):
    import tifffile
    from scipy.ndimage import gaussian_filter

    # nanopyx 2.1.5 finds 3.86 pixels; implementations differ by some 10 per cent.
    path = data_folder / "2d" / "neubias__xy_16bit__microtubules.tif"
    image = gaussian_filter(np.squeeze(tifffile.imread(path))[:164, :164].astype(float), 1.0)
    photons = (image - image.min()) / np.ptp(image) * 200
    recorded = np.random.default_rng(0).poisson(photons).astype(float)
    assert decorrelate(recorded).resolution == pytest.approx(3.858, rel=0.1)
