"""The table of models: names, facts, and halos that are those of the networks."""

from __future__ import annotations

import pytest
import torch

from napari_hrsr.errors import ModelError
from napari_hrsr.models.catalog import default_model, find_spec, interpolation_spec, list_models
from napari_hrsr.models.load import load_model
from napari_hrsr.models.spec import ModelSpec, spec_from_dict, spec_to_dict

UNTRAINED = [spec for spec in list_models() if spec.weights is None]


def ids(spec: ModelSpec) -> str:
    return spec.name


def test_names_are_unique_and_lead_back_to_their_model() -> None:
    specs = list_models()
    assert len({spec.name for spec in specs}) == len(specs)
    for spec in specs:
        assert find_spec(spec.name) == spec


@pytest.mark.parametrize("ndim", [2, 3])
def test_models_can_be_filtered(ndim: int) -> None:
    assert {spec.ndim for spec in list_models(ndim=ndim)} == {ndim}
    assert {spec.task for spec in list_models(task="upscale")} == {"upscale"}
    assert list_models(ndim=4) == []


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("cubic-4x1x1", (4, 1, 1)),
        ("lanczos-2x3", (2, 3)),
        ("back-projection-16x1x2", (16, 1, 2)),
        ("nearest-1x5x5", (1, 5, 5)),
    ],
)
def test_interpolation_exists_for_every_factor(name: str, scale: tuple[int, ...]) -> None:
    spec = find_spec(name)
    assert (spec.name, spec.scale, spec.ndim) == (name, scale, len(scale))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("qubic-2x2", "no model 'qubic-2x2'. Installed: .*cubic-2x2"),
        ("cubic-2", "no model"),
        ("cubic-2x2x2x2", "no model"),
        ("cubic-" + "9" * 6000 + "x2", "no model"),
        ("cubic-0x2", "from 1 to 16"),
        ("cubic-17x17", "from 1 to 16"),
        ("", "no model"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        find_spec(name)


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_default_model_doubles(ndim: int) -> None:
    spec = find_spec(default_model(ndim))
    assert spec.scale == (2,) * ndim
    assert spec.task == "upscale"


@pytest.mark.parametrize("spec", list_models(), ids=ids)
def test_facts_survive_being_written_down(spec: ModelSpec) -> None:
    assert spec_from_dict(spec_to_dict(spec)) == spec


def test_facts_that_are_not_understood_are_refused() -> None:
    facts = spec_to_dict(find_spec("cubic-2x2"))
    for change in ({"colour": 1}, {"scale": [2]}, {"halo": [1, 2, 3]}):
        with pytest.raises(ValueError, match=r"colour|scale|halo"):
            spec_from_dict(facts | change)
    del facts["ndim"]
    with pytest.raises(ValueError, match="ndim"):
        spec_from_dict(facts)


def reach(name: str, axis: int) -> int:
    """Measure how many source pixels away a change is felt, on one axis."""
    model, spec = load_model(name), find_spec(name)
    shape = [5] * spec.ndim
    shape[axis] = 81
    torch.manual_seed(0)
    image = torch.rand(1, 1, *shape, dtype=torch.float64)
    changed = image.clone()
    changed.select(2 + axis, 40).add_(1)
    with torch.inference_mode():
        difference = (model(changed) - model(image)).abs()
    others = [a for a in range(difference.ndim) if a != 2 + axis]
    felt = difference.amax(others).reshape(81, -1).amax(1) > 0
    pixels = felt.nonzero().flatten()
    return int(max(pixels.max() - 40, 40 - pixels.min()))


@pytest.mark.parametrize("method", ["nearest", "linear", "cubic", "lanczos", "back-projection"])
@pytest.mark.parametrize("scale", [(2, 2), (3, 1), (4, 1, 1), (2, 3, 4)])
def test_the_halo_of_interpolation_holds_what_is_felt(method: str, scale: tuple[int, ...]) -> None:
    spec = interpolation_spec(method, scale)
    assert spec.halo is not None
    for axis, halo in enumerate(spec.halo):
        felt = reach(spec.name, axis)
        assert felt <= halo
        # Not much wider than needed either: what is beyond is computed in vain.
        assert halo <= felt + 1
