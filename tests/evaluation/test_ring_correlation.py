from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation import correlate_halves, correlate_rings
from napari_hrsr.evaluation.rings import sort_frequencies

LEVEL = {"1/7": 1 / 7, "0.5": 0.5}


def two_recordings(shape, voxel_size, sigma, ratio, seed=0):
    """A white scene behind a Gaussian blur of the world, recorded twice with white noise.

    `ratio` is signal over noise at the lowest frequencies.
    """
    rng = np.random.default_rng(seed)
    # Cut from a larger field: a scene does not repeat itself beyond the border.
    field = [int(1.3 * n) for n in shape]
    squares = sum(
        (np.fft.fftfreq(n, d) ** 2).reshape([-1 if a == axis else 1 for a in range(len(shape))])
        for axis, (n, d) in enumerate(zip(field, voxel_size, strict=True))
    )
    white = np.fft.fftn(rng.normal(size=field))
    scene = np.fft.ifftn(white * np.exp(-2 * (np.pi * sigma) ** 2 * squares)).real
    scene = scene[tuple(slice(n) for n in shape)]
    return tuple(scene + rng.normal(0, ratio**-0.5, shape) for _ in range(2))


def expected_crossing(sigma, ratio, level):
    # The correlation is S / (S + N), with S falling as exp(-(2 pi sigma f)^2).
    return np.sqrt(np.log(ratio * (1 - level) / level)) / (2 * np.pi * sigma)


@pytest.mark.parametrize("threshold", ["1/7", "0.5"])
@pytest.mark.parametrize(
    ("shape", "voxel_size", "sigma"),
    [
        ((401, 512), (1, 1), 1.0),
        ((256, 256), (1, 1), 1.0),
        ((512, 333), (0.5, 0.8), 1.2),
        ((300, 347), (0.065, 0.065), 0.09),
    ],
)
def test_in_2d_the_crossing_is_where_theory_puts_it(shape, voxel_size, sigma, threshold):
    first, second = two_recordings(shape, voxel_size, sigma, 300, seed=1)
    found = correlate_rings(first, second, voxel_size=voxel_size).crossing(threshold)
    expected = expected_crossing(sigma, 300, LEVEL[threshold])
    assert found.frequency == pytest.approx(expected, rel=0.02)
    assert found.resolution == pytest.approx(1 / found.frequency)
    assert not found.limited_by_sampling


@pytest.mark.parametrize("threshold", ["1/7", "0.5"])
@pytest.mark.parametrize(
    ("shape", "voxel_size", "sigma"),
    [
        ((64, 64, 64), (1, 1, 1), 1.0),
        ((48, 131, 150), (2.0, 0.7, 0.7), 2.2),
        ((60, 180, 171), (0.3, 0.1, 0.1), 0.35),
    ],
)
def test_in_3d_the_crossing_is_where_theory_puts_it(shape, voxel_size, sigma, threshold):
    first, second = two_recordings(shape, voxel_size, sigma, 300)
    found = correlate_rings(first, second, voxel_size=voxel_size).crossing(threshold)
    expected = expected_crossing(sigma, 300, LEVEL[threshold])
    assert found.frequency == pytest.approx(expected, rel=0.05)


def test_the_whole_curve_is_signal_over_signal_and_noise():
    first, second = two_recordings((600, 512), (1, 1), 1.0, 100)
    curve = correlate_rings(first, second, window="hann")
    signal = 100 * np.exp(-((2 * np.pi * curve.frequency) ** 2))
    middle = curve.frequency > 0.1
    difference = curve.smoothed - signal / (signal + 1)
    assert np.abs(difference[middle]).max() < 0.06
    assert np.sqrt((difference[middle] ** 2).mean()) < 0.025


@settings(max_examples=15)
@given(
    size=st.floats(0.01, 100),
    gain=st.floats(0.1, 10),
    offset=st.floats(-100, 100),
    swap=st.booleans(),
)
def test_gain_offset_order_and_unit_do_not_matter(size, gain, offset, swap):
    first, second = two_recordings((61, 80), (1, 1), 1.2, 100)
    plain = correlate_rings(first, second).crossing()
    pair = (gain * second + offset, first) if swap else (first, gain * second + offset)
    found = correlate_rings(*pair, voxel_size=size).crossing()
    assert found.resolution == pytest.approx(plain.resolution * size, rel=1e-6)


def test_beyond_the_nyquist_frequency_of_an_axis_only_the_others_count():
    first, second = two_recordings((40, 200, 200), (4.0, 1, 1), 1.0, 300)
    curve = correlate_rings(first, second, voxel_size=(4.0, 1, 1))
    assert curve.nyquist == (0.125, 0.5, 0.5)
    assert curve.complete_to == 0.125
    assert curve.frequency[-1] > 0.45
    assert curve.crossing().frequency > 0.125


def test_noise_alone_has_no_resolution_and_a_sharp_scene_is_limited_by_its_pixels():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, 128, 128))
    nothing = correlate_rings(*noise).crossing("0.5")
    assert np.isnan(nothing.frequency)
    scene = rng.normal(size=(128, 128))
    sharp = correlate_rings(scene + 0.1 * noise[0], scene + 0.1 * noise[1], voxel_size=0.2)
    found = sharp.crossing()
    assert found.limited_by_sampling
    assert found.resolution == pytest.approx(0.4)
    assert json.loads(json.dumps(sharp.to_dict(), allow_nan=False))["crossings"]["1/7"][
        "limited_by_sampling"
    ]


def test_more_noise_means_less_resolution_at_every_threshold():
    fine = correlate_rings(*two_recordings((200, 220), (1, 1), 1.2, 500))
    coarse = correlate_rings(*two_recordings((200, 220), (1, 1), 1.2, 20))
    for threshold in ("1/7", "0.5", "half-bit"):
        assert coarse.crossing(threshold).resolution > fine.crossing(threshold).resolution
    assert fine.crossing("0.5").resolution > fine.crossing("1/7").resolution


def test_half_a_bit_asks_for_more_where_there_are_few_members():
    curve = correlate_rings(*two_recordings((200, 220), (1, 1), 1.2, 500))
    wanted = curve.threshold("half-bit")
    assert wanted[0] > 0.5
    # The limit for many members: a signal to noise ratio of 0.2071 in each half.
    assert 0.1716 < wanted[-1] < 0.25
    with pytest.raises(InputError, match="threshold must be one of"):
        curve.crossing("0.143")


def test_every_entry_of_the_transform_is_in_one_ring_or_none():
    for shape in ((16, 16), (15, 22), (9, 12, 14), (10, 8, 13)):
        rings = sort_frequencies(shape, (1.0,) * len(shape))
        radius = np.sqrt(
            sum(f**2 for f in np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij"))
        )
        width = 1 / min(shape)
        count = len(rings.frequency)
        inside = (radius >= width / 2) & (radius <= 0.5 + 1e-9)
        inside &= radius < (count + 0.5) * width
        assert rings.members.sum() == inside.sum()
        assert rings.members.min() > 0


def test_halves_of_one_image_agree_with_two_recordings_on_well_sampled_detail():
    for sigma, ratio in ((2.5, 300), (2.5, 3000), (4, 300)):
        first, second = two_recordings((512, 500), (0.1, 0.1), 0.1 * sigma, ratio)
        two = correlate_rings(first, second, voxel_size=0.1).crossing()
        one = correlate_halves(first, voxel_size=0.1, network_output=False).crossing()
        assert one.frequency == pytest.approx(two.frequency, rel=0.1)


def test_slices_of_a_volume_are_measured_together():
    stack = np.stack([two_recordings((100, 120), (1, 1), 2.5, 300, seed=s)[0] for s in range(6)])
    together = correlate_halves(stack, voxel_size=(3, 0.1, 0.1), network_output=False)
    expected = expected_crossing(0.25, 300, 1 / 7)
    assert together.crossing().frequency == pytest.approx(expected, rel=0.12)
    assert together.nyquist == (5, 5)


def test_a_network_output_has_no_ring_correlation_of_its_own():
    first, _ = two_recordings((64, 64), (1, 1), 2, 300)
    with pytest.raises(InputError, match="two independent recordings"):
        correlate_halves(first, network_output=True)


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        (data.camera(), data.camera(), {}, "the same"),
        (data.camera(), 0.5 * data.camera() + 3, {}, "the same"),
        (data.camera(), data.camera()[:, :-1], {}, "shape"),
        (np.ones((64, 64)), data.camera()[:64, :64], {}, "first image is 1 everywhere"),
        (data.camera()[:5], data.camera()[1:6], {}, "at least 8 pixels"),
        (data.camera()[:-1], data.camera()[1:], {"voxel_size": (1, 0)}, "voxel_size"),
        (data.camera()[:-1], data.camera()[1:], {"voxel_size": (1, 1, 1)}, "2 numbers"),
        (data.camera()[:-1], data.camera()[1:], {"window": "kaiser"}, "window"),
    ],
)
def test_a_curve_that_would_mean_nothing_is_refused(first, second, options, message):
    with pytest.raises(InputError, match=message):
        correlate_rings(first, second, **options)


def test_a_blurred_reference_stops_agreeing_where_the_noise_takes_over(data_folder):
    import tifffile

    image = tifffile.imread(data_folder / "2d" / "neubias__xy_16bit__microtubules.tif")
    image = np.squeeze(image)[:301, :280].astype(float)
    rng = np.random.default_rng(0)
    blurred = gaussian_filter(image, 2) + rng.normal(0, 0.02 * image.std(), image.shape)
    harder = gaussian_filter(image, 4) + rng.normal(0, 0.02 * image.std(), image.shape)
    assert (
        correlate_rings(harder, image).crossing("0.5").resolution
        > 1.3 * correlate_rings(blurred, image).crossing("0.5").resolution
    )
