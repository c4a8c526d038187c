from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.training.spectral_losses import correlation_loss, power_loss, ring_totals
from napari_hrsr.training.spectrum import compare_rings


def patches(seed, shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


shapes = st.sampled_from([(2, 1, 48, 48), (3, 3, 30, 25), (1, 1, 24, 24, 24), (1, 1, 3, 3)])


@given(st.integers(0, 999), shapes, st.floats(0.2, 5), st.floats(-2, 2))
def test_strength_counts_for_one_and_place_for_the_other(seed, shape, gain, offset):
    truth = patches(seed, shape)
    totals = ring_totals(gain * truth + offset, truth, 0.4)
    assert float(power_loss(totals)) == pytest.approx(abs(2 * np.log(gain)), abs=2e-3)
    assert float(correlation_loss(totals)) == pytest.approx(0, abs=2e-3)


@given(st.integers(0, 999), shapes)
def test_a_step_down_the_slope_makes_a_patch_better(seed, shape):
    truth, result = patches(seed, shape), 0.5 * patches(seed + 1, shape)
    for loss in (power_loss, correlation_loss):
        result.requires_grad_()
        value = loss(ring_totals(result, truth, 0.4))
        (slope,) = torch.autograd.grad(value, result)
        assert torch.isfinite(slope).all()
        nearer = result.detach() - 1e-3 * slope / slope.norm()
        assert float(loss(ring_totals(nearer, truth, 0.4))) < value.item()


def test_flat_patches_give_finite_losses_and_gradients():
    flat = torch.zeros(1, 1, 16, 16, requires_grad=True)
    totals = ring_totals(flat, torch.zeros(1, 1, 16, 16), 0.4)
    value = power_loss(totals) + correlation_loss(totals)
    value.backward()
    assert torch.isfinite(flat.grad).all()
    assert power_loss(totals).item() == 0


def test_detail_below_the_rings_is_left_alone():
    x = torch.arange(48.0)
    wave = torch.cos(2 * torch.pi * x / 12).expand(1, 1, 48, 48)
    texture = 0.1 * patches(0, (1, 1, 48, 48))
    totals = ring_totals(texture + wave, texture, 0.4)
    assert float(power_loss(totals)) < 0.02
    assert float(power_loss(ring_totals(texture + wave, texture, 0.0))) > 0.2


def test_it_measures_what_is_reported_of_whole_images():
    truth, noise = patches(0, (1, 1, 96, 96)), patches(1, (1, 1, 96, 96))
    totals = ring_totals(0.5 * truth + 0.2 * noise, truth, 0.5)
    whole = compare_rings((0.5 * truth + 0.2 * noise)[0, 0].numpy(), truth[0, 0].numpy())
    assert float(power_loss(totals)) == pytest.approx(whole.distance(), rel=0.03)
    assert 1 - float(correlation_loss(totals)) == pytest.approx(whole.agreement(), abs=0.01)
