from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.errors import InputError
from napari_hrsr.forward import ForwardModel
from napari_hrsr.training.adversarial_losses import (
    collapse_warning,
    consistency_loss,
    discriminator_loss,
    feature_loss,
    generator_loss,
    measurement_loss,
)

OBJECTIVES = ("relativistic", "cross-entropy", "hinge")
CHANCE = {"relativistic": math.log(2), "cross-entropy": math.log(2), "hinge": 1.0}


def logits(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, *shape, generator=generator).unbind(0)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_discriminator_that_cannot_tell_pays_what_chance_costs(objective):
    nothing = torch.zeros(3, 1, 4, 4)
    assert float(discriminator_loss(objective, nothing, nothing)) == pytest.approx(
        CHANCE[objective]
    )
    sure = float(discriminator_loss(objective, nothing + 9, nothing - 9))
    assert sure == pytest.approx(0, abs=1e-3)
    assert float(discriminator_loss(objective, nothing - 9, nothing + 9)) > 5


@given(st.integers(0, 999), st.sampled_from(OBJECTIVES))
def test_the_two_sides_pull_the_made_logits_in_opposite_directions(seed, objective):
    real, made = logits(seed, 4, 1, 3, 3)
    made.requires_grad_()
    (sees,) = torch.autograd.grad(discriminator_loss(objective, real, made), made)
    (hides,) = torch.autograd.grad(generator_loss(objective, real, made), made)
    assert (sees >= 0).all()
    assert (hides < 0).all()


def test_cross_entropy_is_that_of_the_labels():
    real, made = logits(0, 5, 1)
    labels = F.binary_cross_entropy_with_logits
    expected = (labels(real, torch.ones_like(real)) + labels(made, torch.zeros_like(made))) / 2
    assert float(discriminator_loss("cross-entropy", real, made)) == pytest.approx(float(expected))
    assert float(generator_loss("cross-entropy", real, made)) == pytest.approx(
        float(labels(made, torch.ones_like(made)))
    )


@given(st.integers(0, 999), st.floats(-5, 5))
def test_relative_opinions_do_not_mind_an_offset(seed, offset):
    real, made = logits(seed, 4, 1)
    for loss in (discriminator_loss, generator_loss):
        expected = float(loss("relativistic", real, made))
        shifted = float(loss("relativistic", real + offset, made + offset))
        assert shifted == pytest.approx(expected, rel=1e-4)


def test_an_unknown_objective_is_refused():
    for loss in (discriminator_loss, generator_loss):
        with pytest.raises(InputError, match="least-squares"):
            loss("least-squares", torch.zeros(1), torch.zeros(1))
    with pytest.raises(InputError, match="least-squares"):
        collapse_warning("least-squares", [], [])


def test_features_count_against_their_strength():
    real = [torch.ones(2, 4, 5, 5), torch.full((2, 8), 100.0)]
    made = [torch.full((2, 4, 5, 5), 1.5, requires_grad=True), torch.full((2, 8), 150.0)]
    value = feature_loss(real, made)
    assert value.item() == pytest.approx(0.5)
    value.backward()
    assert made[0].grad.abs().sum() > 0
    assert float(feature_loss(real, real)) == 0


def test_no_gradient_flows_into_the_features_of_the_truth():
    real = torch.ones(2, 3, requires_grad=True)
    made = torch.zeros(2, 3, requires_grad=True)
    feature_loss([real], [made]).backward()
    assert real.grad is None


@given(st.integers(0, 999), st.sampled_from(["area", "bicubic"]))
def test_a_result_that_records_like_the_truth_is_consistent(seed, sampling):
    instrument = ForwardModel((2, 2), sampling=sampling)
    rng = np.random.default_rng(seed)
    truth, change = torch.from_numpy(rng.random((2, 1, 1, 12, 12), dtype=np.float32)).unbind(0)
    away = change - instrument.adjoint(instrument.apply(change))
    for result in (truth + away, truth + change):
        expected = (instrument.apply(result) - instrument.apply(truth)).abs().mean()
        assert float(consistency_loss(result, truth, [instrument])) == pytest.approx(
            float(expected), abs=1e-6
        )


def test_each_image_is_recorded_by_its_own_instrument():
    truth = torch.zeros(3, 1, 4, 4)
    result = torch.ones(3, 1, 4, 4) * torch.tensor([1.0, 2.0, 4.0]).reshape(3, 1, 1, 1)
    area = ForwardModel((2, 2))
    assert float(consistency_loss(result, truth, [area, None, area])) == pytest.approx(2.5)
    checks = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(1, 1, 2, 2)
    assert float(consistency_loss(checks, torch.zeros_like(checks), [area])) == pytest.approx(0)
    assert float(consistency_loss(result, truth, [None] * 3)) == 0


def test_a_result_need_not_reproduce_noise():
    rng = torch.Generator().manual_seed(0)
    result = torch.zeros(1, 1, 32, 32)
    coarse = 0.1 * (2 * torch.rand(1, 1, 16, 16, generator=rng) - 1)
    area = ForwardModel((2, 2))
    assert float(measurement_loss(result, coarse, torch.tensor(0.1), area)) == 0
    assert float(measurement_loss(result + 0.3, coarse, torch.tensor(0.1), area)) > 0.1


def test_a_healthy_game_gives_no_warning():
    rng = np.random.default_rng(0)
    for objective in OBJECTIVES:
        healthy = (CHANCE[objective] * rng.uniform(0.6, 1.1, 500)).tolist()
        assert collapse_warning(objective, healthy, healthy) is None


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    ("share", "said"),
    [(0.01, "every result"), (1.0, "cannot tell"), (3.0, "chase each other")],
)
def test_a_game_that_is_over_is_named(objective, share, said):
    losses = [CHANCE[objective] * share] * 300
    warning = collapse_warning(objective, losses, losses)
    assert said in warning
    # What happened long ago does not count.
    healthy = [CHANCE[objective] * (0.7 + 0.2 * (i % 2)) for i in range(300)]
    assert collapse_warning(objective, losses + healthy, losses + healthy) is None


def test_it_is_too_early_to_say_at_first_but_not_for_infinite_losses():
    assert collapse_warning("relativistic", [0.0] * 10, [9.0] * 10) is None
    assert "numbers" in collapse_warning("relativistic", [0.6, 0.6], [0.6, math.nan])
