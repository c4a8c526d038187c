from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation import check_consistency, measured_noise, resolution_scaled_error
from napari_hrsr.forward import ForwardModel

TRUTH = data.camera()[:240, :300].astype(float)


def recorded(fine, model, noise=0.0, seed=0):
    coarse = model.apply(torch.from_numpy(np.array(fine))).numpy()
    return coarse + np.random.default_rng(seed).normal(0, noise, coarse.shape)


def binned(fine, factor):
    """Average over pixels, without the code under test."""
    shape = [part for n in fine.shape for part in (n // factor, factor)]
    return fine.reshape(shape).mean(tuple(range(1, 2 * fine.ndim, 2)))


@pytest.mark.parametrize("noise", [2.0, 10.0])
def test_the_truth_deviates_by_the_noise_alone(noise):
    model = ForwardModel((2, 2), psf_sigma=(1.0, 1.0))
    found = check_consistency(TRUTH, recorded(TRUTH, model, noise), forward=model, noise=noise)
    assert found.chi_square == pytest.approx(1, abs=0.03)
    assert found.outside == pytest.approx(0.0027, abs=0.002)
    assert found.deviation.shape == (120, 150)
    assert not found.fitted


def test_what_was_invented_stands_out_where_it_is():
    model = ForwardModel((2, 2))
    result = TRUTH.copy()
    result[100:108, 200:208] += 60
    found = check_consistency(result, recorded(TRUTH, model, 3.0), forward=model, noise=3.0)
    assert np.unravel_index(np.abs(found.deviation).argmax(), (120, 150)) in {
        (y, x) for y in range(50, 54) for x in range(100, 104)
    }
    assert found.deviation[50:54, 100:104].mean() == pytest.approx(20, abs=1)
    elsewhere = np.delete(found.deviation, slice(50, 54), axis=0)
    assert np.abs(elsewhere).max() < 5.5


def test_detail_that_the_instrument_erases_leaves_no_trace():
    # A checkerboard of single pixels vanishes in pixels of twice the size.
    model = ForwardModel((2, 2))
    board = 50 * (-1.0) ** np.add.outer(np.arange(240), np.arange(300))
    found = check_consistency(TRUTH + board, recorded(TRUTH, model, 3.0), forward=model, noise=3.0)
    assert found.chi_square == pytest.approx(1, abs=0.05)


def test_an_unknown_blur_is_found():
    source = binned(gaussian_filter(TRUTH, 1.7, mode="nearest"), 2)
    source += np.random.default_rng(0).normal(0, 2, source.shape)
    found = check_consistency(TRUTH, source, noise=2.0)
    assert found.fitted
    assert found.forward.psf_sigma == pytest.approx((1.7, 1.7), rel=0.03)
    assert found.chi_square == pytest.approx(1, abs=0.05)


def test_noise_is_measured_and_includes_rounding():
    model = ForwardModel((2, 2), psf_sigma=(1.0, 1.0))
    source = recorded(TRUTH, model, 8.0)
    found = check_consistency(TRUTH, source, forward=model)
    assert found.noise == pytest.approx(8, rel=0.15)
    assert measured_noise(np.add.outer(np.arange(40), np.arange(40))) >= 12**-0.5
    with pytest.raises(InputError, match="give its standard deviation"):
        measured_noise(np.add.outer(np.arange(40.0), np.arange(40.0)))


@settings(max_examples=8)
@given(
    sigma=st.floats(0.7, 6), gain=st.floats(0.1, 10), offset=st.floats(-200, 200),
    factor=st.sampled_from([1, 2, 3]),
)  # fmt: skip
def test_planted_blur_gain_and_offset_are_recovered(sigma, gain, offset, factor):
    blurred = gaussian_filter(TRUTH, sigma, mode="nearest", truncate=8)
    source = gain * binned(blurred, factor) + offset
    found = resolution_scaled_error(TRUTH, source)
    assert found.sigma == pytest.approx((sigma, sigma), rel=1e-3)
    assert found.gain == pytest.approx(gain, rel=1e-3)
    assert found.offset == pytest.approx(offset, abs=1e-3 * (gain * 255 + abs(offset)))
    assert found.pearson == pytest.approx(1, abs=1e-6)
    assert found.error < 1e-3 * gain * 255
    assert not found.at_limit


def test_the_planted_blur_of_the_paper_is_recovered():
    source = 0.5 * binned(gaussian_filter(TRUTH, 3, mode="nearest", truncate=8), 2) + 20
    found = resolution_scaled_error(TRUTH, source)
    assert found.sigma == pytest.approx((3, 3), abs=1e-3)
    assert found.gain == pytest.approx(0.5, abs=1e-3)
    assert found.offset == pytest.approx(20, abs=1e-3)


def test_in_3d_the_axial_blur_is_told_from_the_lateral_one():
    volume = gaussian_filter(np.random.default_rng(0).random((24, 60, 64)), 0.7)
    source = 3 * gaussian_filter(volume, (2.5, 1.2, 1.2), mode="nearest", truncate=8) + 1
    found = resolution_scaled_error(volume, source)
    assert found.sigma == pytest.approx((2.5, 1.2, 1.2), rel=0.01)
    assert found.gain == pytest.approx(3, rel=0.01)


def test_an_artefact_is_found_at_its_place():
    source = binned(gaussian_filter(TRUTH, 2), 2)
    result = TRUTH.copy()
    result[60:80, 220:240] += 80
    found = resolution_scaled_error(result, source)
    y, x = np.unravel_index(found.error_map.argmax(), found.error_map.shape)
    assert 29 <= y <= 41
    assert 109 <= x <= 121
    assert found.pearson < resolution_scaled_error(TRUTH, source).pearson


def test_unrelated_images_are_called_that():
    rng = np.random.default_rng(0)
    found = resolution_scaled_error(rng.random((64, 64)), rng.random((64, 64)))
    assert abs(found.pearson) < 0.4
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["at_limit"] in (True, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": TRUTH[:100, :100]}, "no multiple"),
        ({"source": TRUTH[::2, ::2], "noise": 0.0}, "noise must be above 0"),
        ({"source": TRUTH[::2, ::2], "noise": 1.0, "forward": ForwardModel((3, 3))}, "factor"),
        ({"source": np.ones((120, 150))}, "constant"),
        ({"source": TRUTH[:160, :200], "factor": 1.5}, "whole factors"),
        ({"source": TRUTH[:24, :30][None]}, "axes"),
    ],
)
def test_images_that_do_not_belong_together_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        check_consistency(TRUTH, **options)
