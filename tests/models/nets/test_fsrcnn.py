from __future__ import annotations

from pathlib import Path

import network_checks as checks
import pytest
import torch
import torch.nn.functional as F

from napari_hrsr.models.nets.fsrcnn import TransposedConvolution, TransposedUpscaler

NAME = "fsrcnn"
SMALL = {"features": 8, "shrunk": 4, "layers": 1, "kernel": 5}


@pytest.mark.parametrize("kernel", [1, 5, 9])
@pytest.mark.parametrize("scale", [(2, 2), (3, 1), (4, 4), (4, 1, 1), (2, 2, 2)])
def test_it_is_a_transposed_convolution(scale, kernel):
    torch.manual_seed(0)
    layer = TransposedConvolution(len(scale), 3, 2, scale, kernel).double()
    with torch.no_grad():
        layer.weight.normal_()
        layer.bias.normal_()
    assert all(kernel <= n for n in layer.weight.shape[2:])
    x = torch.rand(2, 3, *(6, 5, 4)[: len(scale)], dtype=torch.float64)
    transposed = F.conv_transpose2d if len(scale) == 2 else F.conv_transpose3d
    padding = [k * r for k, r in zip(scale, layer.radii, strict=True)]
    expected = transposed(x, layer.weight, layer.bias, stride=scale, padding=padding)
    assert torch.allclose(layer(x), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("scale", checks.SCALES)
def test_untrained_is_cubic_interpolation(scale):
    checks.check_untrained_is_cubic(checks.untrained(NAME, scale, **SMALL))


@pytest.mark.parametrize(("layers", "kernel"), [(0, 1), (1, 5), (3, 9)])
@pytest.mark.parametrize("scale", checks.SCALES)
def test_halo_is_exact(scale, layers, kernel):
    small = SMALL | {"layers": layers, "kernel": kernel}
    checks.check_halo(checks.scrambled(NAME, scale, **small))


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
    checks.check_file_and_tiles(NAME, scale, tmp_path, **SMALL)


@pytest.mark.parametrize("wrong", [{"scale": (2, 2, 2)}, {"ndim": 1, "scale": (2,)}])
def test_senseless_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        TransposedUpscaler(**{"ndim": 2, "scale": (2, 2)} | wrong)
