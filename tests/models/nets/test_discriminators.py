"""Both networks that judge images: an encoder for the whole, a U-Net for each pixel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from napari_hrsr.errors import ModelError
from napari_hrsr.models.nets import DISCRIMINATORS, build_discriminator

SMALL = {"width": 6, "halvings": 2}


def build(name: str, ndim: int, **arguments: object) -> nn.Module:
    torch.manual_seed(0)
    return build_discriminator(name, {"ndim": ndim, **SMALL, **arguments})


@pytest.mark.parametrize("name", DISCRIMINATORS)
@settings(max_examples=15)
@given(shape=st.lists(st.integers(1, 13), min_size=2, max_size=3))
def test_any_size_is_judged(name: str, shape: list[int]) -> None:
    network = build(name, len(shape), inputs=3)
    images = torch.rand(2, 3, *shape)
    seen = network.features(images)  # type: ignore[operator]
    expected = (2, 1, *shape) if name == "unet" else (2, 1)
    assert seen[-1].shape == expected
    assert len(seen) > 3
    assert all(bool(torch.isfinite(part).all()) for part in seen)


@pytest.mark.parametrize("name", DISCRIMINATORS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_features_end_in_the_logits_and_all_weights_get_a_gradient(name: str, ndim: int) -> None:
    network = build(name, ndim).eval()
    images = torch.rand(2, 2, *(9,) * ndim, requires_grad=True)
    *between, logits = network.features(images)  # type: ignore[operator]
    assert torch.equal(logits, network(images))
    sum(part.square().mean() for part in (*between, logits)).backward()
    assert images.grad is not None
    assert bool(images.grad.any())
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.any()), key


@pytest.mark.parametrize(("name", "ndim"), [("encoder", 2), ("encoder", 3), ("unet", 2)])
def test_learns_to_tell_rough_from_smooth(name: str, ndim: int) -> None:
    network = build(name, ndim)
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2, betas=(0.5, 0.99))
    blur = F.avg_pool2d if ndim == 2 else F.avg_pool3d

    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        rough = torch.rand(4, 2, *(9,) * ndim, generator=generator)
        return rough, blur(rough, 3, stride=1, padding=1, count_include_pad=False)

    for _ in range(30):
        rough, smooth = draw()
        loss = F.softplus(-network(rough)).mean() + F.softplus(network(smooth)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        judged = [network(images).flatten(1).mean(1) for images in draw()]
    assert float(judged[0].min()) > float(judged[1].max())


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_spectral_normalisation_bounds_the_weights(name: str) -> None:
    def largest(network: nn.Module) -> dict[str, float]:
        return {
            key: float(torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2))
            for key, module in network.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
        }

    bound, free = largest(build(name, 2)), largest(build(name, 2, spectral=False))
    exempt = {"logit"} if name == "unet" else set()
    # The largest singular value is estimated by a few iterations.
    assert all(value < 1.2 for key, value in bound.items() if key not in exempt)
    assert min(free.values()) > 1.2


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_the_same_seed_makes_the_same_network(name: str) -> None:
    first, second = build(name, 2), build(name, 2)
    images = torch.rand(1, 2, 8, 8)
    assert torch.equal(first(images), second(images))


def test_the_small_unet_has_about_120_thousand_parameters() -> None:
    network = build_discriminator("unet", {"ndim": 2})
    assert 100_000 < sum(p.numel() for p in network.parameters()) < 130_000


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(ModelError, match="encoder, unet"):
        build_discriminator("patch", {"ndim": 2})
    with pytest.raises(ModelError, match="must be 2 or 3"):
        build_discriminator("unet", {"ndim": 4})
    with pytest.raises(ModelError, match="halvings must"):
        build_discriminator("encoder", {"ndim": 2, "halvings": -1})
