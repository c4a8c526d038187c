from __future__ import annotations

import itertools

import pytest
import torch

from napari_hrsr.models.nets.convolutional import ConvolutionalUpscaler
from napari_hrsr.models.nets.interpolation import Interpolation
from napari_hrsr.models.nets.subpixel import pixel_shuffle

SCALES = [(2, 2), (3, 1), (4, 1, 1), (1, 2, 2), (2, 2, 2)]


def random_network(scale, **arguments):
    torch.manual_seed(0)
    network = ConvolutionalUpscaler(len(scale), scale, **{"features": 4, **arguments}).eval()
    with torch.no_grad():
        network.tail.weight.normal_(std=0.3)
    return network


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("block", ["gated", "wide", "plain"])
def test_untrained_is_cubic_interpolation(scale, block):
    network = ConvolutionalUpscaler(len(scale), scale, features=4, block=block)
    x = torch.rand(2, 1, *(9,) * len(scale))
    expected = Interpolation(len(scale), scale, "cubic")(x)
    assert torch.equal(network(x, torch.tensor(0.1)), expected)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("block", "blocks"), [("gated", 1), ("gated", 2), ("wide", 2), ("plain", 3)]
)
def test_halo_is_exact(scale, block, blocks):
    network = random_network(scale, block=block, blocks=blocks).double()
    ndim = len(scale)
    x = torch.rand(1, 1, *(19,) * ndim, dtype=torch.float64)
    for axis, (halo, k) in enumerate(zip(network.halo, scale, strict=True)):
        output = [slice(None)] * (2 + ndim)
        output[2 + axis] = slice(9 * k, 10 * k)
        with torch.no_grad():
            before = network(x)[tuple(output)]
            for distance, changes in ((halo, True), (halo + 1, False)):
                for side in (-1, 1):
                    if not 0 <= 9 + side * distance < 19:
                        continue
                    y = x.clone()
                    y.select(2 + axis, 9 + side * distance).add_(100)
                    after = network(y)[tuple(output)]
                    if changes:
                        assert float((after - before).abs().max()) > 1e-9
                    else:
                        assert torch.allclose(after, before, rtol=0, atol=1e-12)


def test_a_single_volume_takes_the_same_numbers_as_a_batch():
    network = random_network((2, 2, 2), features=12)
    x = torch.rand(1, 1, 8, 9, 10)
    noise = torch.full((1, 1, 1, 1, 1), 0.05)
    with torch.no_grad():
        alone = network(x, noise)
        batch = network(x.expand(3, -1, -1, -1, -1), noise)
    with_gradient = network(x, noise).detach()
    assert torch.allclose(alone, batch[:1], atol=2e-5)
    assert torch.allclose(alone, with_gradient, atol=2e-5)


def test_noise_may_be_a_scalar_or_a_plane_and_matters():
    network = random_network((2, 2))
    x = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        scalar = network(x, torch.tensor(0.1))
        plane = network(x, torch.full((2, 1, 8, 8), 0.1))
        none = network(x)
        zero = network(x, torch.zeros(2, 1, 1, 1))
    assert torch.allclose(scalar, plane)
    assert torch.equal(none, zero)
    assert not torch.allclose(scalar, none)


def test_without_noise_input_the_level_is_ignored():
    network = random_network((2, 2), noise_input=False)
    x = torch.rand(1, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(network(x, torch.tensor(0.3)), network(x))


def test_channels():
    network = random_network((2, 2), channels=3)
    assert network(torch.rand(1, 3, 8, 9)).shape == (1, 3, 16, 18)


def test_channels_last_changes_nothing():
    network = random_network((2, 2), features=16)
    x = torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        plain = network(x)
        last = network.to(memory_format=torch.channels_last)(x)
    assert torch.allclose(plain, last, atol=1e-4)


@pytest.mark.parametrize("scale", [(2, 2), (3, 2), (1, 2, 3)])
def test_pixel_shuffle_puts_channels_where_they_belong(scale):
    ndim = len(scale)
    count = 2
    for factor in scale:
        count *= factor
    x = torch.rand(2, count, *(3,) * ndim)
    y = pixel_shuffle(x, scale)
    for offset, phase in enumerate(itertools.product(*(range(k) for k in scale))):
        where = tuple(slice(p, None, k) for p, k in zip(phase, scale, strict=True))
        assert torch.equal(y[(slice(None), 1, *where)], x[:, count // 2 + offset])


@pytest.mark.parametrize(
    "arguments",
    [
        {"ndim": 4, "scale": (2, 2, 2, 2)},
        {"ndim": 2, "scale": (2, 2, 2)},
        {"ndim": 2, "scale": (2, 2), "block": "deep"},
    ],
)
def test_senseless_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="must"):
        ConvolutionalUpscaler(**arguments)
