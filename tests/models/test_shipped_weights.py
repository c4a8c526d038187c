from __future__ import annotations

import hashlib
import json
import math
from importlib.resources import files

import numpy as np
import pytest
import torch
from safetensors import safe_open
from skimage import data

from napari_hrsr.forward import ForwardModel
from napari_hrsr.models.catalog import default_model
from napari_hrsr.models.nets import build_network
from napari_hrsr.models.nets.interpolation import Interpolation
from napari_hrsr.models.spec import spec_from_dict
from napari_hrsr.training.degrade import Degradation, degrade
from napari_hrsr.training.patches import make_pair

FOLDER = files("napari_hrsr.models") / "weights"
SPECS = [spec_from_dict(facts) for facts in json.loads((FOLDER / "index.json").read_text())]
BY_NAME = {spec.name: spec for spec in SPECS}


def load(spec):
    network = build_network(spec.architecture, spec.arguments).eval()
    with safe_open(str(FOLDER / spec.weights.file), "pt") as file:
        network.load_state_dict({k: file.get_tensor(k).float() for k in file.keys()})  # noqa: SIM118
    return network


def gain(network, fine, degradation):
    """Return the gain over cubic interpolation, in decibels; `fine` is ([C,] *spatial)."""
    scale = degradation.instrument.factor
    ndim = len(scale)
    pair = make_pair(degrade(fine, degradation, np.random.default_rng(0)), fine, ndim=ndim)
    shape = pair.coarse.shape[pair.coarse.ndim - ndim :]
    batch = torch.from_numpy(pair.coarse.reshape(1, -1, *shape))
    with torch.inference_mode():
        results = [Interpolation(ndim, scale)(batch), network(batch, torch.tensor(pair.noise))]
    inner = (..., *(slice(8, -8),) * ndim)
    truth = pair.fine.reshape(results[0].shape[1:])
    errors = [float(np.mean((r.numpy()[0] - truth)[inner] ** 2)) for r in results]
    return 10 * math.log10(errors[0] / errors[1])


@pytest.fixture(scope="module")
def general_2d():
    return load(BY_NAME["general-2d-x2"])


def test_the_default_models_are_there():
    assert [default_model(2), default_model(3)] == ["general-2d-x2", "general-3d-x2"]
    assert set(BY_NAME) == {
        "general-2d-x2",
        "general-2d-x4",
        "lowlight-2d-x2",
        "colour-2d-x2",
        "general-3d-x2",
        "slices-3d-4x1x1",
        "denoise-2d",
        "denoise-3d",
        "deblur-2d",
    }


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_index_file_and_metadata_agree(spec):
    content = (FOLDER / spec.weights.file).read_bytes()
    assert hashlib.sha256(content).hexdigest() == spec.weights.sha256
    assert len(content) == spec.weights.size < 1_000_000
    with safe_open(str(FOLDER / spec.weights.file), "pt") as file:
        inside = spec_from_dict(json.loads(file.metadata()["napari_hrsr"]))
    assert inside.weights is None
    assert (inside.name, inside.halo, inside.gains) == (spec.name, spec.halo, spec.gains)
    assert (FOLDER / f"{spec.name}.md").read_text().startswith(f"# {spec.name}")


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_halo_of_the_file_is_exact(spec):
    network = load(spec).double()
    assert network.halo == spec.halo
    halo, factor = spec.halo[0], spec.scale[0]
    x = torch.rand(1, spec.channels, *(2 * h + 3 for h in spec.halo), dtype=torch.float64)
    middle = (slice(None), slice(None), slice(factor * (halo + 1), factor * (halo + 2)))
    noise = torch.tensor(0.02, dtype=torch.float64)
    with torch.no_grad():
        before = network(x, noise)[middle]
        for distance, changes in ((halo, True), (halo + 1, False)):
            y = x.clone()
            y.select(2, halo + 1 + distance).add_(1)
            difference = float((network(y, noise)[middle] - before).abs().max())
            assert (difference > 1e-9) is changes


@pytest.mark.parametrize(
    ("degradation", "margin"),
    [
        (Degradation(ForwardModel((2, 2), sampling="bicubic")), 0.5),
        (Degradation(ForwardModel((2, 2))), 0.5),
        (Degradation(ForwardModel((2, 2), (0.8, 0.8))), 0.8),
        (Degradation(ForwardModel((2, 2), (0.8, 0.8)), 200, 0.01), 0.8),
    ],
    ids=["bicubic", "area", "psf", "noise"],
)
def test_beats_cubic_on_a_photograph_it_has_never_seen(general_2d, degradation, margin):
    fine = data.camera().astype(np.float32) / 255
    assert gain(general_2d, fine, degradation) > margin


def moving_photograph(planes):
    # The brain of skimage is a download; a photograph moved along z makes a volume.
    plane = data.camera().astype(np.float32)[150:214, 180:244] / 255
    return np.stack([np.roll(plane, shift, axis=1) for shift in range(planes)])


def test_volumes_gain_too():
    degradation = Degradation(ForwardModel((2, 2, 2)))
    assert gain(load(BY_NAME["general-3d-x2"]), moving_photograph(48), degradation) > 0.3


def test_thick_slices_gain_too():
    slices = ForwardModel((4, 1, 1), slice_axis=0, slice_fwhm=4)
    network = load(BY_NAME["slices-3d-4x1x1"])
    assert gain(network, moving_photograph(64), Degradation(slices)) > 0.3


def test_a_factor_of_four_gains():
    fine = data.camera().astype(np.float32) / 255
    for degradation in (
        Degradation(ForwardModel((4, 4), sampling="bicubic")),
        Degradation(ForwardModel((4, 4), (1.6, 1.6))),
    ):
        assert gain(load(BY_NAME["general-2d-x4"]), fine, degradation) > 0.4


@pytest.mark.parametrize("photons", [20, 100])
def test_with_few_photons_the_model_for_low_light_is_the_better_one(general_2d, photons):
    fine = data.camera().astype(np.float32) / 255
    noisy = Degradation(ForwardModel((2, 2), (0.8, 0.8)), photons, 0.01)
    assert gain(load(BY_NAME["lowlight-2d-x2"]), fine, noisy) > gain(general_2d, fine, noisy)


def test_colours_gain_together():
    fine = np.moveaxis(data.chelsea().astype(np.float32)[:300, :440] / 255, -1, 0)
    degradation = Degradation(ForwardModel((2, 2), (0.8, 0.8)), 500, 0.01)
    assert gain(load(BY_NAME["colour-2d-x2"]), fine, degradation) > 0.8


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_constant_inside_stays_a_constant(spec):
    x = torch.full((1, spec.channels, *(24,) * spec.ndim), 0.3)
    with torch.inference_mode():
        y = load(spec)(x, torch.tensor(0.0))
    border = (slice(10 * k, -10 * k) for k in spec.scale)
    inner = y[(slice(None), slice(None), *border)]
    assert float((inner - 0.3).abs().max()) < 0.03
