from __future__ import annotations

from pathlib import Path

import network_checks as checks
import pytest
import torch

from napari_hrsr.models.nets.srcnn import InterpolatedUpscaler

NAME = "srcnn"
SMALL = {"features": 6, "mapped": 4, "kernels": (5, 1, 3)}


@pytest.mark.parametrize("scale", checks.SCALES)
def test_untrained_is_cubic_interpolation(scale):
    checks.check_untrained_is_cubic(checks.untrained(NAME, scale, **SMALL))


@pytest.mark.parametrize("kernels", [(1, 1, 1), (5, 1, 3), (5, 3, 5)])
@pytest.mark.parametrize("scale", [*checks.SCALES, (4, 3)])
def test_halo_is_exact(scale, kernels):
    checks.check_halo(checks.scrambled(NAME, scale, **SMALL | {"kernels": kernels}))


def test_the_published_size_reaches_five_source_pixels():
    assert checks.untrained(NAME, (2, 2)).halo == (5, 5)


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


def test_colours():
    network = checks.untrained(NAME, (2, 2), channels=3, **SMALL)
    assert network(torch.rand(1, 3, 4, 5)).shape == (1, 3, 8, 10)


@pytest.mark.parametrize("wrong", [{"kernels": (9, 2, 5)}, {"kernels": (9, 5)}, {"ndim": 4}])
def test_senseless_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        InterpolatedUpscaler(**{"ndim": 2, "scale": (2, 2)} | wrong)
