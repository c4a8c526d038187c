from __future__ import annotations

from pathlib import Path

import network_checks as checks
import numpy as np
import pytest
import torch

from napari_hrsr import upscale
from napari_hrsr.api import settle_intensity
from napari_hrsr.jobs import plan_job, start_job
from napari_hrsr.models.load import load_model
from napari_hrsr.models.nets.attention import AttentionUpscaler, ChannelAttention

NAME = "attention"
SMALL = {"features": 8, "blocks": 2, "reduction": 2, "window": 5}


@pytest.mark.parametrize("scale", checks.SCALES)
@pytest.mark.parametrize("window", [5, None])
def test_untrained_is_cubic_interpolation(scale, window):
    checks.check_untrained_is_cubic(checks.untrained(NAME, scale, **SMALL | {"window": window}))


@pytest.mark.parametrize(("blocks", "window"), [(1, 1), (1, 7), (2, 5)])
@pytest.mark.parametrize("scale", checks.SCALES)
def test_halo_is_exact(scale, blocks, window):
    small = SMALL | {"blocks": blocks, "window": window}
    checks.check_halo(checks.scrambled(NAME, scale, **small))


@pytest.mark.parametrize("window", [1, 3, 9, None])
@pytest.mark.parametrize("shape", [(6, 11), (4, 7, 5)])
def test_the_weights_come_from_the_mean_of_the_pixels_nearby(shape, window):
    torch.manual_seed(0)
    layer = ChannelAttention(len(shape), 4, 2, window).double()
    x = torch.rand(1, 4, *shape, dtype=torch.float64)
    result = layer(x).detach()
    radius = max(shape) if window is None else window // 2
    for at in [(0,) * len(shape), tuple(n // 2 for n in shape), tuple(n - 1 for n in shape)]:
        nearby = x[(0, slice(None), *(slice(max(0, i - radius), i + radius + 1) for i in at))]
        mean = nearby.flatten(1).mean(1)[(None, slice(None)) + (None,) * len(shape)]
        weight = torch.sigmoid(layer.excite(torch.relu(layer.squeeze(mean)))).flatten()
        expected = x[(0, slice(None), *at)] * weight
        assert torch.allclose(result[(0, slice(None), *at)], expected, atol=1e-12)


@pytest.mark.parametrize("scale", [(2, 3), (4, 1, 1)])
def test_learns(scale):
    checks.check_learns(checks.untrained(NAME, scale, **SMALL))


@pytest.mark.parametrize("scale", [(2, 2), (2, 2, 2)])
def test_a_batch_changes_nothing(scale):
    checks.check_a_batch_changes_nothing(checks.scrambled(NAME, scale, channels=3, **SMALL))


def test_noise():
    checks.check_noise(NAME, **SMALL)


@pytest.mark.parametrize("scale", [(2, 2), (3, 1), (4, 1, 1)])
def test_a_saved_network_upscales_in_tiles(scale, tmp_path: Path):
    small = SMALL if len(scale) == 2 else SMALL | {"blocks": 1, "window": 3}
    checks.check_file_and_tiles(NAME, scale, tmp_path, **small)


def test_over_the_whole_image_its_tiles_are_faded_into_each_other(tmp_path: Path):
    arguments = SMALL | {"window": None}
    network = checks.scrambled(NAME, (2, 2), **arguments)
    assert network.halo is None
    path = tmp_path / "whole.safetensors"
    checks.save_model(network, NAME, path, **arguments)
    model = load_model(path)
    image = np.random.default_rng(0).uniform(0, 1, (30, 20)).astype(np.float32)
    assert upscale(image, model, device="cpu").shape == (60, 40)
    job = plan_job(image, model, device="cpu", tile=16)
    out = np.zeros(job.shape, job.dtype)
    done = list(start_job(job, out, settle_intensity(job)))
    assert len(done) == 4
    assert max(tile.difference for tile in done) > 0
    assert np.isfinite(out).all()


@pytest.mark.parametrize("wrong", [{"window": 4}, {"window": -1}, {"reduction": 0}, {"ndim": 4}])
def test_senseless_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        AttentionUpscaler(**{"ndim": 2, "scale": (2, 2)} | wrong)
