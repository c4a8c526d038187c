"""Models that run one after another, as one job: tiles, records, recipes, command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import make_spec
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn
from typer.testing import CliRunner

from napari_hrsr import load_model, upscale, upscale_layer
from napari_hrsr.cli import app
from napari_hrsr.errors import ModelError
from napari_hrsr.files import read_image
from napari_hrsr.models.catalog import find_spec
from napari_hrsr.models.chaining import chain_steps
from napari_hrsr.models.compose import chain, on_grey
from napari_hrsr.models.load import NetworkUpscaler
from napari_hrsr.models.nets import build_network
from napari_hrsr.models.spec import ModelSpec, spec_from_dict, spec_to_dict
from napari_hrsr.training.model_file import save_model


def restoring(name: str = "smooth", task: str = "denoise", ndim: int = 2) -> NetworkUpscaler:
    """Build a network of factor 1 that does something to its image."""
    arguments: dict[str, Any] = {
        "ndim": ndim, "scale": (1,) * ndim, "features": 4, "blocks": 2, "block": "plain",
    }  # fmt: skip
    torch.manual_seed(1)
    network = build_network("convolutional", arguments)
    nn.init.normal_(network.tail.weight, std=0.05)
    spec = ModelSpec(
        name, name, task, "convolutional", arguments, ndim=ndim, scale=(1,) * ndim,  # type: ignore[arg-type]
        halo=network.halo, noise_input=True,
    )  # fmt: skip
    return NetworkUpscaler(network, spec).eval().requires_grad_(False)


@pytest.fixture
def image() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(100, 4000, (53, 61)).astype(np.uint16)


def saved(model: NetworkUpscaler, folder: Path) -> Path:
    path = folder / f"{model.spec.name}.safetensors"
    save_model(model.network, model.spec, path, dtype=torch.float32)
    return path


def test_a_chain_of_three_gives_the_same_in_tiles_as_in_one_piece(image: np.ndarray) -> None:
    models = [restoring(), "general-2d-x2", restoring("sharpen", "enhance")]
    whole = upscale(image, models, tile=500, device="cpu", dtype="float32")
    tiled = upscale(image, models, tile=(11, 16), device="cpu", dtype="float32")
    assert whole.shape == (106, 122)
    assert_allclose(tiled, whole, atol=4000 * 1e-5)
    assert np.abs(whole - upscale(image, "general-2d-x2", dtype="float32")).max() > 40


def test_the_halo_of_a_chain_is_counted_in_source_pixels() -> None:
    first, second, third = restoring(), load_model("general-2d-x2"), restoring("sharpen")
    parts = [m.spec.halo for m in (first, second, third)]
    halo = chain(first, second, third).spec.halo
    assert halo == tuple(a + b + -(-c // 2) for a, b, c in zip(*parts, strict=True))


def test_a_chain_is_found_and_loaded_by_the_names_of_its_models() -> None:
    name = "cubic-1x1+general-2d-x2"
    spec = find_spec(name)
    assert (spec.name, spec.scale, len(spec.parts)) == (name, (2, 2), 2)
    assert load_model(name).spec == spec
    assert spec_from_dict(json.loads(json.dumps(spec_to_dict(spec)))) == spec
    with pytest.raises(ModelError, match="no model 'no-such-model'"):
        find_spec("general-2d-x2+no-such-model")


def test_models_for_planes_are_refused_in_a_chain_for_volumes(image: np.ndarray) -> None:
    with pytest.raises(ModelError, match=r"'general-3d-x2' is for 3D .* 'general-2d-x2' for 2D"):
        upscale(image[None], ["general-3d-x2", "general-2d-x2"], axes="ZYX")
    with pytest.raises(ModelError, match="at least one"):
        upscale(image, [])


class Told(nn.Module):
    """Adds the noise that it is told to the image."""

    def __init__(self, scale: tuple[float, float] = (0.0, 1.0), *, takes: bool = True) -> None:
        super().__init__()
        self.spec = make_spec(2, (1, 1), halo=(0, 0), noise_input=takes, value_range=scale)

    def forward(self, batch: torch.Tensor, *, noise: Any = None) -> torch.Tensor:
        return batch if noise is None else batch + noise


@pytest.mark.parametrize(
    "models",
    [
        [Told(), Told()],
        [Told(takes=False), Told(), Told()],
        [Told(), Told((0.0, 255.0))],
        [Told(takes=False), Told((0.0, 255.0))],
    ],
    ids=["twice", "after one that takes none", "other range after", "other range first told"],
)
def test_the_first_model_that_takes_the_noise_is_told_of_all_of_it(models: list[Told]) -> None:
    batch, noise = torch.zeros(2, 1, 3, 3), torch.tensor([0.25, 0.5]).reshape(2, 1, 1, 1)
    made = chain(*models)
    unit = made.spec.value_range[1]
    result = made(batch, noise=noise * unit)
    assert_allclose(result.numpy(), (noise * unit).expand_as(batch).numpy(), rtol=1e-6)


def test_grey_models_take_the_colours_of_a_chain_one_by_one() -> None:
    rng = np.random.default_rng(1)
    colours = rng.integers(0, 255, (20, 24, 3)).astype(np.uint8)
    smooth = restoring()
    options = {"axes": "YXS", "dtype": "float32", "noise": 3.0, "intensity": "image"}
    made = upscale(colours, [smooth, "colour-2d-x2"], **options)
    apart = chain(load_model("colour-2d-x2"), smooth).spec
    assert (apart.channels, made.shape) == (3, (40, 48, 3))
    levels = np.percentile(colours, (0.1, 99.9))
    batch = torch.from_numpy((colours - levels[0]) / np.ptp(levels)).float().permute(2, 0, 1)[None]
    noise = torch.full((3, 1, 1, 1), 3.0 / float(np.ptp(levels)))
    with torch.inference_mode():
        middle = smooth(batch.transpose(0, 1), noise=noise).transpose(0, 1)
        wanted = load_model("colour-2d-x2")(middle, noise=torch.zeros(1, 1, 1, 1))
    assert_allclose(
        made, wanted[0].permute(1, 2, 0).numpy() * np.ptp(levels) + levels[0], atol=0.05
    )
    assert on_grey(load_model("cubic-1x1+colour-2d-x2")).spec.channels == 1


def test_a_layer_is_named_after_the_steps(image: np.ndarray) -> None:
    from napari.layers import Image

    layer = Image(image, name="cells")
    models = [restoring(), "general-2d-x2", restoring("sharpen", "enhance")]
    _, attributes, _ = upscale_layer(layer, models)
    assert attributes["name"] == "cells denoise x2 enhance"
    assert chain_steps(find_spec("general-3d-x2")) == ("x2",)
    chained = attributes["metadata"]["napari_hrsr"]["chain"]
    assert [part["model"] for part in chained] == ["smooth", "general-2d-x2", "sharpen"]
    assert chained[1]["weights_sha256"] == find_spec("general-2d-x2").weights.sha256


def test_then_runs_models_as_one_job_and_a_recipe_repeats_it(
    tmp_path: Path, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tifffile

    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("in.tif", image)
    file = saved(restoring(), tmp_path)
    steps = ["--model", file.name, "--then", "general-2d-x2", "--then", "cubic-1x1"]
    run = CliRunner().invoke(app, ["upscale", "in.tif", "one.ome.tif", *steps, "--tile", "20"])
    assert run.exit_code == 0, run.output
    done = read_image(Path("one.ome.tif"))
    assert done.record is not None
    assert done.record["model"] == "smooth+general-2d-x2+cubic-1x1"
    assert_array_equal(
        np.asarray(done.data), upscale(image, [file, "general-2d-x2", "cubic-1x1"], tile=20)
    )
    again = ["upscale", "in.tif", "two.ome.tif", "--recipe", "one.ome.tif"]
    run = CliRunner().invoke(app, again)
    assert run.exit_code == 1
    assert "no model 'smooth'" in " ".join(run.output.split())
    run = CliRunner().invoke(app, [*again, *steps])
    assert run.exit_code == 0, run.output
    assert_array_equal(np.asarray(read_image(Path("two.ome.tif")).data), np.asarray(done.data))
    run = CliRunner().invoke(app, [*again, "--overwrite", *steps[:4]])
    assert run.exit_code == 1
    assert "not those of the recipe" in " ".join(run.output.split())


def test_then_needs_a_model_before_it(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["upscale", "a.tif", "b.tif", "--then", "general-2d-x2"])
    assert run.exit_code == 1
    assert "--model" in run.output
