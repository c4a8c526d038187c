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
    pair = make_pair(degrade(fine, degradation, np.random.default_rng(0)), fine)
    batch = torch.from_numpy(pair.coarse)[None, None]
    with torch.inference_mode():
        results = [
            Interpolation(fine.ndim, (2,) * fine.ndim)(batch),
            network(batch, torch.tensor(pair.noise)),
        ]
    inner = (slice(8, -8),) * fine.ndim
    errors = [float(np.mean((r.numpy()[0, 0] - pair.fine)[inner] ** 2)) for r in results]
    return 10 * math.log10(errors[0] / errors[1])


@pytest.fixture(scope="module")
def general_2d():
    return load(BY_NAME["general-2d-x2"])


def test_the_default_models_are_there():
    assert {"general-2d-x2", "general-3d-x2"} <= set(BY_NAME)


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
    halo, length = spec.halo[0], 2 * spec.halo[0] + 3
    x = torch.rand(1, 1, *(length,) * spec.ndim, dtype=torch.float64)
    middle = (slice(None), slice(None), slice(2 * halo + 2, 2 * halo + 4))
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


def test_volumes_gain_too():
    # The brain of skimage is a download; a photograph moved along z makes a volume.
    plane = data.camera().astype(np.float32)[150:214, 180:244] / 255
    volume = np.stack([np.roll(plane, shift, axis=1) for shift in range(48)])
    degradation = Degradation(ForwardModel((2, 2, 2)))
    assert gain(load(BY_NAME["general-3d-x2"]), volume, degradation) > 0.3


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_constant_inside_stays_a_constant(spec):
    x = torch.full((1, 1, *(24,) * spec.ndim), 0.3)
    with torch.inference_mode():
        y = load(spec)(x, torch.tensor(0.0))
    inner = y[(slice(None), slice(None), *(slice(20, -20),) * spec.ndim)]
    assert float((inner - 0.3).abs().max()) < 0.03
