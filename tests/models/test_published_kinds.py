"""Networks of different kinds that others published: tiles equal the whole, or say how far not."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from napari_hrsr import load_model, upscale
from napari_hrsr.intensity import Intensity
from napari_hrsr.jobs import describe_job, plan_job, start_job
from napari_hrsr.watching import Watched

# What networks of others do when they are run is theirs.
pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid", "ignore::DeprecationWarning")

IMAGE = np.random.default_rng(0).random((70, 75), np.float32)


def saved(folder: Path, architecture: str, **arguments: Any) -> Path:
    """Save a network with weights with which a signal neither dies nor grows."""
    # Not while tests are collected: it takes seconds to import.
    module = importlib.import_module(f"spandrel.architectures.{architecture}")
    network: nn.Module = getattr(module, architecture)(**arguments)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                drawn = torch.randn(weight.shape, generator=generator)
                weight.copy_(drawn / math.sqrt(weight[0].numel()))
    torch.save(network.state_dict(), folder / "network.pth")
    return folder / "network.pth"


@pytest.mark.parametrize(
    ("architecture", "arguments", "multiple"),
    [
        ("SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8, "upscale": 2}, 1),
        ("Swin2SR", {"img_size": 16, "depths": [2], "embed_dim": 8, "num_heads": [2],
                     "window_size": 8, "mlp_ratio": 2, "upsampler": "pixelshuffledirect"}, 8),
    ],
    ids=["convolutions", "windows of attention"],
)  # fmt: skip
def test_tiles_of_bounded_networks_equal_the_whole(
    architecture: str, arguments: dict[str, Any], multiple: int, tmp_path: Path
) -> None:
    path = saved(tmp_path, architecture, **arguments)
    spec = load_model(path).spec
    assert spec.halo is not None
    assert spec.scale == (2, 2)
    assert set(spec.multiple) == {multiple}
    whole = upscale(IMAGE, path, tile=100)
    # Grey, though the network is one for colours.
    assert whole.shape == (140, 150)
    assert whole.std() > 1e-3
    np.testing.assert_allclose(upscale(IMAGE, path, tile=24), whole, atol=1e-4)


def test_channel_attention_sees_the_whole_image_and_its_tiles_say_so(tmp_path: Path) -> None:
    arguments = {"scale": 2, "n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 4}
    model = load_model(saved(tmp_path, "RCAN", **arguments))
    assert model.spec.halo is None
    job = plan_job(IMAGE, model, tile=40)
    out = np.zeros(job.shape, np.float32)
    levels = Intensity(np.array(0.0), np.array(1.0), np.array(0.0))
    seen = Watched(job)
    for _ in seen.through(start_job(job, out, levels)):
        pass
    fading = seen.added_to(describe_job(job, levels))["fading"]
    assert fading["width"] == [16, 16]
    assert 0 < fading["difference"] == seen.difference
    assert f"{seen.difference:.3g}" in seen.told()
    whole = upscale(IMAGE, model, tile=100, intensity=levels)
    assert np.abs(out - whole).max() < 10 * fading["difference"]


def test_a_denoiser_is_told_the_noise_in_every_tile(tmp_path: Path) -> None:
    path = saved(tmp_path, "DRUNet", in_nc=2, out_nc=1, nc=[8, 8, 8, 8], nb=2)
    spec = load_model(path).spec
    assert (spec.task, spec.noise_input, spec.channels) == ("denoise", True, 1)
    whole = upscale(IMAGE, path, tile=100, noise=0.1)
    assert np.abs(whole - upscale(IMAGE, path, tile=100, noise=0.4)).max() > 1e-3
    if spec.halo is not None:
        np.testing.assert_allclose(upscale(IMAGE, path, tile=40, noise=0.1), whole, atol=1e-4)


def test_a_network_for_squares_takes_any_image(tmp_path: Path) -> None:
    arguments = {"img_size": 128, "embed_dim": 4, "depths": [1] * 9, "num_heads": [1] * 9}
    model = load_model(saved(tmp_path, "Uformer", **arguments))
    assert set(model.spec.multiple) == {128}
    assert upscale(IMAGE[:, :50], model).shape == (70, 50)
