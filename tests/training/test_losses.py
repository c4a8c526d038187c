from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from napari_hrsr.errors import InputError
from napari_hrsr.training.losses import (
    LOSSES,
    charbonnier,
    combined,
    frequency,
    l1,
    mse,
    ssim,
)


def images(seed, ndim, count=2):
    rng = np.random.default_rng(seed)
    shape = (count, 1, *(int(n) for n in rng.integers(5, 14, ndim)))
    return tuple(torch.from_numpy(rng.random(shape, dtype=np.float32)) for _ in range(2))


@given(st.integers(0, 999), st.sampled_from([2, 3]), st.sampled_from(sorted(LOSSES)))
def test_every_loss_is_least_for_the_truth_and_shows_the_way_to_it(seed, ndim, name):
    loss = LOSSES[name]
    result, truth = images(seed, ndim)
    at_truth = float(loss(truth, truth))
    assert at_truth <= 1e-3 * (1 + 1e-5)
    result.requires_grad_()
    value = loss(result, truth)
    assert value.shape == ()
    assert value.item() > at_truth
    (slope,) = torch.autograd.grad(value, result)
    assert torch.isfinite(slope).all()
    step = 1e-3 * slope / slope.norm()
    assert loss(result - step, truth).item() < value.item()


@given(st.integers(0, 999), st.sampled_from([2, 3]), st.sampled_from(sorted(LOSSES)))
def test_no_loss_prefers_a_direction(seed, ndim, name):
    result, truth = images(seed, ndim)
    expected = float(LOSSES[name](result, truth))
    turned = [x.transpose(2, -1).flip(2) for x in (result, truth)]
    assert float(LOSSES[name](*turned)) == pytest.approx(expected, rel=1e-4)


@given(st.integers(0, 99), st.sampled_from(sorted(LOSSES)))
def test_gradients_are_finite_where_result_and_truth_are_equal(seed, name):
    _, truth = images(seed, 2)
    result = truth.clone().requires_grad_()
    (slope,) = torch.autograd.grad(LOSSES[name](result, truth), result)
    assert torch.isfinite(slope).all()


def test_the_simple_losses_are_what_they_are_called():
    result, truth = torch.tensor([[[[3.0, 1.0]]]]), torch.tensor([[[[1.0, 1.0]]]])
    assert float(l1(result, truth)) == 1
    assert float(mse(result, truth)) == 2
    assert float(charbonnier(result, truth)) == pytest.approx((2 + 1e-3) / 2, rel=1e-6)


@pytest.mark.parametrize("shape", [(40, 31), (12, 15, 13)])
def test_ssim_agrees_with_scikit_image(shape):
    rng = np.random.default_rng(0)
    truth = gaussian_filter(rng.random(shape), 1.5)
    result = truth + rng.normal(0, 0.02, shape)
    expected = structural_similarity(
        truth, result, win_size=7, data_range=1.0, use_sample_covariance=False
    )
    tensors = [torch.from_numpy(x)[None, None] for x in (result, truth)]
    assert 1 - float(ssim(*tensors)) == pytest.approx(expected, abs=1e-6)


def test_ssim_takes_images_thinner_than_its_window():
    result, truth = torch.rand(2, 1, 1, 2, 4, 30).unbind(0)
    assert 0 < float(ssim(result, truth)) <= 2


def test_frequency_is_on_the_scale_of_l1_for_noise():
    rng = torch.Generator().manual_seed(0)
    result, truth = torch.zeros(1, 1, 64, 64), torch.randn(1, 1, 64, 64, generator=rng)
    expected = float(l1(result, truth))
    assert float(frequency(result, truth)) == pytest.approx(expected, rel=0.03)


def test_frequency_sees_through_a_wave_that_pixels_see_everywhere():
    x = torch.arange(64.0)
    wave = 0.1 * torch.cos(2 * math.pi * x / 8).expand(1, 1, 64, 64)
    shuffled = wave.flatten()[torch.randperm(64 * 64, generator=torch.Generator().manual_seed(0))]
    truth = torch.zeros_like(wave)
    assert float(frequency(wave, truth)) < 0.1 * float(
        frequency(shuffled.reshape(wave.shape), truth)
    )


def test_losses_are_added_with_their_weights():
    result, truth = images(0, 2)
    total = combined({"charbonnier": 1.0, "frequency": 0.05, "ssim": 0.0})(result, truth)
    expected = charbonnier(result, truth) + 0.05 * frequency(result, truth)
    assert float(total) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"vgg": 1.0}, "vgg"),
        ({"l1": -1.0}, "-1.0"),
        ({"l1": math.nan}, "nan"),
        ({"l1": 0.0}, "no loss"),
        ({}, "no loss"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights, said):
    with pytest.raises(InputError, match=said):
        combined(weights)
