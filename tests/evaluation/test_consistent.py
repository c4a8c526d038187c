from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_hrsr.errors import CancelledError, ComputeError, InputError
from napari_hrsr.evaluation import make_consistent
from napari_hrsr.evaluation.baseline import cubic_baseline
from napari_hrsr.forward import ForwardModel

TRUTH = data.camera()[:120, 100:260].astype(float)
VOLUME = gaussian_filter(np.random.default_rng(0).random((12, 30, 32)), 1.0) * 100

MODELS = [
    ForwardModel((2, 2)),
    ForwardModel((4, 2), psf_sigma=(1.0, 0.8)),
    ForwardModel((2, 2), sampling="bicubic"),
    ForwardModel((4, 4), sampling="k-space"),
]


def applied(model, fine):
    return model.apply(torch.from_numpy(np.array(fine))).numpy()


def error(image, truth):
    return float(((image - truth) ** 2).mean())


@pytest.mark.parametrize("model", MODELS, ids=["area", "blur", "bicubic", "k-space"])
def test_the_projection_reproduces_the_source_and_comes_closer_to_the_truth(model):
    source = applied(model, TRUTH)
    guess = cubic_baseline(source, model.factor, TRUTH.shape)
    found = make_consistent(guess, source, model)
    assert found.weight == 0
    assert np.abs(applied(model, found.data) - source).max() < 1e-8 * source.max()
    assert error(found.data, TRUTH) <= error(guess, TRUTH)


@pytest.mark.parametrize(
    "model",
    [
        ForwardModel((2, 2, 2)),
        ForwardModel((3, 1, 1), slice_axis=0, slice_fwhm=3.0),
        ForwardModel((4, 2, 2), psf_sigma=(1.0, 0.7, 0.7)),
    ],
    ids=["area", "slices", "blur"],
)
def test_in_3d_too(model):
    source = applied(model, VOLUME)
    guess = cubic_baseline(source, model.factor, VOLUME.shape)
    found = make_consistent(guess, source, model)
    assert np.abs(applied(model, found.data) - source).max() < 1e-8 * source.max()
    assert error(found.data, VOLUME) < error(guess, VOLUME)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    factor=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    sigma=st.floats(0, 1.0),
    scale=st.floats(1e-3, 1e4),
)
def test_without_noise_no_guess_is_ever_made_worse(seed, factor, sigma, scale):
    rng = np.random.default_rng(seed)
    shape = tuple(k * n for k, n in zip(factor, (7, 6), strict=True))
    model = ForwardModel(factor, psf_sigma=tuple(sigma * k / 2 for k in factor))
    truth, guess = scale * rng.random((2, *shape))
    found = make_consistent(guess, applied(model, truth), model)
    assert error(found.data, truth) <= error(guess, truth) * (1 + 1e-9)


@pytest.mark.parametrize("noise", [3.0, 15.0])
@pytest.mark.parametrize("model", MODELS, ids=["area", "blur", "bicubic", "k-space"])
def test_with_noise_what_is_left_is_the_noise(model, noise):
    clean = applied(model, TRUTH)
    source = clean + np.random.default_rng(0).normal(0, noise, clean.shape)
    # Far too smooth, so that there is something to put right.
    guess = gaussian_filter(cubic_baseline(source, model.factor, TRUTH.shape), 4)
    found = make_consistent(guess, source, model, noise=noise)
    assert found.before > 1.2
    assert 0.8 <= found.after <= 1.2
    assert found.weight > 0
    left = applied(model, found.data) - source
    assert found.after == pytest.approx((left**2).mean() / noise**2)
    assert error(found.data, TRUTH) < error(guess, TRUTH)


@pytest.mark.parametrize("model", MODELS[:2], ids=["area", "blur"])
def test_a_good_result_is_not_drowned_in_the_noise_of_its_source(model):
    clean = applied(model, TRUTH)
    source = clean + np.random.default_rng(0).normal(0, 5, clean.shape)
    guess = TRUTH + 10 * np.sin(np.arange(160) / 9)
    careful = make_consistent(guess, source, model, noise=5.0)
    exact = make_consistent(guess, source, model)
    assert error(careful.data, TRUTH) < error(guess, TRUTH)
    assert error(careful.data, TRUTH) < error(exact.data, TRUTH)


def test_in_3d_with_noise_too():
    model = ForwardModel((2, 2, 2), psf_sigma=(1, 1, 1))
    clean = applied(model, VOLUME)
    source = clean + np.random.default_rng(0).normal(0, 1.0, clean.shape)
    guess = np.full_like(VOLUME, source.mean()) + 1e-3 * VOLUME
    found = make_consistent(guess, source, model, noise=1.0)
    assert 0.8 <= found.after <= 1.2


def test_a_result_that_agrees_within_the_noise_is_left_alone():
    model = ForwardModel((2, 2))
    source = applied(model, TRUTH) + np.random.default_rng(0).normal(0, 5, (60, 80))
    found = make_consistent(TRUTH, source, model, noise=5.1)
    assert found.weight == np.inf
    assert np.array_equal(found.data, TRUTH)
    assert found.steps == 0


def test_the_given_result_is_not_changed():
    model = ForwardModel((2, 2))
    guess = TRUTH + 3
    before = guess.copy()
    make_consistent(guess, applied(model, TRUTH), model)
    assert np.array_equal(guess, before)


def test_integers_are_not_wrapped():
    model = ForwardModel((2, 2))
    source = applied(model, TRUTH).round().astype(np.uint8)
    guess = np.repeat(np.repeat(255 - source, 2, 0), 2, 1)
    found = make_consistent(guess, source, model)
    assert np.abs(applied(model, found.data) - source).max() < 1e-6


def test_it_can_be_cancelled():
    def stop():
        raise CancelledError("enough")

    model = ForwardModel((2, 2))
    with pytest.raises(CancelledError):
        make_consistent(TRUTH + 3, applied(model, TRUTH), model, check=stop)


def test_a_blur_that_erases_detail_asks_for_the_noise():
    model = ForwardModel((2, 2), psf_sigma=(6.0, 6.0))
    source = applied(model, TRUTH) + np.random.default_rng(0).normal(0, 1, (60, 80))
    with pytest.raises(ComputeError, match="Give the noise"):
        make_consistent(TRUTH, source, model)
    assert make_consistent(TRUTH + 5, source, model, noise=1.0).after == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(
    ("shape", "model", "noise", "message"),
    [
        ((50, 80), ForwardModel((2, 2)), 0, r"gives \(100, 160\)"),
        ((60, 80), ForwardModel((2, 2, 2)), 0, "3 axes"),
        ((60, 80), ForwardModel((2, 2)), -1, "from 0 up"),
        ((60, 80), ForwardModel((2, 2)), np.nan, "from 0 up"),
    ],
)
def test_what_does_not_fit_is_refused(shape, model, noise, message):
    source = np.random.default_rng(0).random(shape)
    with pytest.raises(InputError, match=message):
        make_consistent(TRUTH, source, model, noise=noise)
