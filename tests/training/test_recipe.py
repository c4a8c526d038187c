from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

from napari_hrsr.models.nets.convolutional import ConvolutionalUpscaler
from napari_hrsr.training.images import Image, binned
from napari_hrsr.training.recipe import PairMaker, Recipe, charbonnier, train

RECIPE = Recipe(iterations=60, batch=4, size=12, warm_up=10, pairs=6, largest=96)


def trained(recipe=RECIPE, seed=0, report=None):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    image = Image("skimage", "camera", data.camera().astype(np.float32) / 255)
    network = ConvolutionalUpscaler(2, (2, 2), features=8, blocks=1)
    return train(network, PairMaker([image], (2, 2), recipe, rng), recipe, rng, report)


def test_the_same_seed_gives_the_same_weights():
    first, second = trained().state_dict(), trained().state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert float(first["tail.weight"].abs().max()) > 0


def test_progress_is_reported_and_the_loss_falls():
    losses = []
    trained(
        Recipe(iterations=400, batch=2, size=12, pairs=12, largest=128, noisy_fraction=0.0),
        report=lambda step, loss: losses.append((step, loss)),
    )
    assert [step for step, _ in losses] == [200, 400]
    assert losses[-1][1] < losses[0][1]


def test_charbonnier_is_the_absolute_difference_far_out():
    assert float(charbonnier(torch.tensor([2.0]), torch.tensor([0.0]))) == pytest.approx(
        2, rel=1e-6
    )
    assert float(charbonnier(torch.zeros(3), torch.zeros(3))) == pytest.approx(1e-3)


def test_binned_averages_blocks_and_drops_odd_ends():
    image = Image("a", "b", np.arange(35, dtype=np.float32).reshape(5, 7))
    assert np.array_equal(binned(image).pixels, [[4, 6, 8], [18, 20, 22]])
