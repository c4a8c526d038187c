from __future__ import annotations

import pytest
import torch
from skimage import data

from napari_hrsr.forward import ForwardModel
from napari_hrsr.models.nets.back_projection import BackProjection, back_projection_halo
from napari_hrsr.models.nets.interpolation import Interpolation


@pytest.fixture(scope="module")
def camera():
    return torch.from_numpy(data.camera()).double()[None, None, 100:356, 100:356] / 255


def test_result_reproduces_the_pixels_recorded(camera):
    instrument = ForwardModel((2, 2))
    coarse = instrument.apply(camera)
    residual = [
        float((instrument.apply(BackProjection(2, (2, 2), n)(coarse)) - coarse).abs().max())
        for n in (0, 3, 10)
    ]
    assert residual[0] > 3 * residual[1] > 15 * residual[2]


def test_gains_over_cubic_on_an_area_binned_image(camera):
    coarse = ForwardModel((2, 2)).apply(camera)

    def error(network):
        return float((network(coarse) - camera).square().mean().log10()) * 10

    assert error(Interpolation(2, (2, 2))) - error(BackProjection(2, (2, 2))) > 0.4


@pytest.mark.parametrize("kernel", ["linear", "cubic"])
def test_halo_is_exact(kernel):
    network = BackProjection(2, (2, 1), 3, kernel).double()
    assert network.halo == back_projection_halo((2, 1), 3, kernel)
    assert network.halo[1] == 0
    halo = network.halo[0]
    x = torch.rand(1, 1, 41, 5, dtype=torch.float64)
    before = network(x)[:, :, 40:42]
    for distance, changes in ((halo, True), (halo + 1, False)):
        y = x.clone()
        y[:, :, 20 + distance] += 1000
        assert torch.equal(network(y)[:, :, 40:42], before) is not changes


def test_the_default_reaches_no_farther_than_24_pixels():
    assert max(BackProjection(3, (2, 2, 2)).halo) <= 24


def test_volumes_and_single_axes():
    y = BackProjection(3, (4, 1, 1))(torch.rand(1, 2, 3, 4, 5))
    assert y.shape == (1, 2, 12, 4, 5)


def test_negative_iterations_are_refused():
    with pytest.raises(ValueError, match="0 or more"):
        BackProjection(2, (2, 2), -1)
