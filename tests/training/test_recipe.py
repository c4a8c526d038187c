from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data

from napari_hrsr.models.nets.convolutional import ConvolutionalUpscaler
from napari_hrsr.training.images import Image, binned
from napari_hrsr.training.recipe import PairMaker, Recipe, charbonnier, train

RECIPE = Recipe(iterations=12, batch=2, size=8, warm_up=4, pairs=3, refresh=4, largest=64)


def trained(recipe=RECIPE, report=None):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    image = Image("skimage", "camera", data.camera()[:128, :128].astype(np.float32) / 255)
    network = ConvolutionalUpscaler(2, (2, 2), features=4, blocks=1)
    return train(network, PairMaker([image], (2, 2), recipe, rng), recipe, rng, report)


def test_the_same_seed_gives_the_same_weights():
    first, second = trained().state_dict(), trained().state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert float(first["tail.weight"].abs().max()) > 0


def test_the_result_is_ready_for_use():
    network = trained()
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())


def test_progress_is_reported_every_200_steps():
    reports = []
    trained(replace(RECIPE, iterations=201), lambda step, loss: reports.append((step, loss)))
    assert [step for step, _ in reports] == [200]
    assert 0 < reports[0][1] < 0.2


def test_charbonnier_is_the_absolute_difference_far_out():
    assert float(charbonnier(torch.tensor([2.0]), torch.tensor([0.0]))) == pytest.approx(
        2, rel=1e-6
    )
    assert float(charbonnier(torch.zeros(3), torch.zeros(3))) == pytest.approx(1e-3)


def test_binned_averages_blocks_and_drops_odd_ends():
    image = Image("a", "b", np.arange(35, dtype=np.float32).reshape(5, 7))
    assert np.array_equal(binned(image).pixels, [[4, 6, 8], [18, 20, 22]])
