"""The settings that the shipped models were trained with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from napari_hrsr.models.catalog import WEIGHTS_FOLDER, find_spec
from napari_hrsr.training.config_file import read_config

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SHIPPED = [facts["name"] for facts in json.loads((WEIGHTS_FOLDER / "index.json").read_text())]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_model_has_one_that_makes_it(name: str) -> None:
    spec, recipe = find_spec(name), read_config(RECIPES / f"{name}.toml")
    assert (recipe.model.name, recipe.scale, recipe.channels) == (name, spec.scale, spec.channels)
    assert recipe.model.title == spec.title
    assert recipe.steps > 0


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_what_one_starts_from_is_another_one(path: Path) -> None:
    recipe = read_config(path)
    assert recipe.model.name == path.stem
    if recipe.model.start_from:
        before = read_config(RECIPES / f"{recipe.model.start_from}.toml")
        assert before.ndim == recipe.ndim
        assert not before.model.start_from
