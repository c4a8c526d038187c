"""The cards of the models that ship say what was measured, with the weights that ship."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from napari_hrsr.models.spec import spec_from_dict

FOLDER = files("napari_hrsr.models") / "weights"
SPECS = [spec_from_dict(facts) for facts in json.loads((FOLDER / "index.json").read_text())]
UPSCALERS = [spec for spec in SPECS if max(spec.scale) > 1]
PLANTED = Path(__file__).parents[2] / "benchmarks" / "results" / "planted.json"


@pytest.mark.parametrize("spec", UPSCALERS, ids=lambda spec: spec.name)
def test_planted_points_are_those_of_the_shipped_weights(spec):
    found = json.loads(PLANTED.read_text())[spec.name]
    assert found["weights_sha256"] == spec.weights.sha256
    card = (FOLDER / f"{spec.name}.md").read_text()
    section = card.partition("## Planted points and lesions\n")[2].partition("\n## ")[0]
    for doublets in found["flat"]["doublets"]:
        assert f"{doublets['model']:.2f} / {doublets['cubic']:.2f}" in section
