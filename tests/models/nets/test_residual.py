from __future__ import annotations

from pathlib import Path

import network_checks as checks
import pytest

from napari_hrsr.models.nets.residual import ResidualUpscaler

NAME = "residual"
SMALL = {"features": 6, "blocks": 2}


@pytest.mark.parametrize("scale", checks.SCALES)
def test_untrained_is_cubic_interpolation(scale):
    checks.check_untrained_is_cubic(checks.untrained(NAME, scale, **SMALL))


@pytest.mark.parametrize("blocks", [0, 2])
@pytest.mark.parametrize("scale", checks.SCALES)
def test_halo_is_exact(scale, blocks):
    checks.check_halo(checks.scrambled(NAME, scale, **SMALL | {"blocks": blocks}))


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


@pytest.mark.parametrize("wrong", [{"scale": (2, 2, 2)}, {"ndim": 4, "scale": (2,) * 4}])
def test_senseless_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        ResidualUpscaler(**{"ndim": 2, "scale": (2, 2)} | wrong)
