"""Weights as whole numbers: near what they were, and refused where they make no sense."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.errors import ModelFileError
from napari_hrsr.models.quantised import SCALE, quantise, restore
from napari_hrsr.training.architectures import choices, make_network


@given(st.integers(0, 10**6), st.floats(1e-6, 1e4), st.integers(1, 4), st.sampled_from([2, 3]))
def test_no_weight_moves_by_more_than_half_a_step(seed, size, outputs, ndim):
    generator = torch.Generator().manual_seed(seed)
    weight = size * torch.randn(outputs, 3, *(3,) * ndim, generator=generator)
    restored = restore("file", quantise({"weight": weight}))["weight"]
    step = weight.flatten(1).abs().amax(1) / 127
    moved = (restored - weight).flatten(1).abs().amax(1)
    assert bool((moved <= 0.5001 * step).all())


def test_zero_stays_zero_and_biases_stay_numbers():
    weight = torch.zeros(2, 3, 3, 3)
    weight[1, 0, 0, 0] = 5.0
    stored = quantise({"weight": weight, "bias": torch.tensor([0.25, -3.0])})
    assert stored["weight"].dtype is torch.int8
    assert stored["bias"].dtype is torch.float16
    restored = restore("file", stored)
    assert torch.equal(restored["weight"] == 0, weight == 0)
    assert torch.allclose(restored["weight"], weight)
    assert restored.keys() == {"weight", "bias"}


@pytest.mark.parametrize("ndim", [2, 3])
def test_every_network_takes_its_restored_weights(ndim):
    for choice in choices(ndim):
        network, _ = make_network(choice.key, ndim=ndim, scale=(2,) * ndim)
        state = network.state_dict()
        restored = restore("file", quantise(state))
        assert {k: v.shape for k, v in restored.items()} == {k: v.shape for k, v in state.items()}
        assert not any(SCALE in key for key in state)


@pytest.mark.parametrize(
    "scale",
    [
        None,
        torch.ones(3),
        torch.ones(2, 1),
        torch.ones(2, dtype=torch.float64),
        torch.ones(2, dtype=torch.int8),
        torch.tensor([1.0, torch.inf]),
        torch.tensor([torch.nan, 1.0]),
    ],
)
def test_whole_numbers_without_a_scale_that_fits_are_refused(scale):
    stored = {"weight": torch.ones(2, 3, 3, 3, dtype=torch.int8)}
    if scale is not None:
        stored["weight" + SCALE] = scale
    with pytest.raises(ModelFileError, match="no scale that fits"):
        restore("file", stored)


def test_a_number_without_axes_is_refused():
    stored = {"weight": torch.tensor(1, dtype=torch.int8), "weight" + SCALE: torch.tensor(1.0)}
    with pytest.raises(ModelFileError, match="no scale that fits"):
        restore("file", stored)
