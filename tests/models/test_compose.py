"""Models made of models, through the engine like any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from networks import Repeat, ShuffleNet
from numpy.testing import assert_allclose

from napari_hrsr import load_model, upscale
from napari_hrsr.errors import ModelError
from napari_hrsr.models.compose import average_planes, chain, self_ensemble, turned


def image_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1000, shape).astype(np.float32)


def run_whole(model: Any, image: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(image)[None, None])[0, 0].numpy()


COMPOSED = {
    "chain": (lambda: chain(ShuffleNet((2, 2)), ShuffleNet((1, 3))), (30, 24)),
    "chain of strides": (
        lambda: chain(ShuffleNet((2, 2), stride=3), ShuffleNet((2, 2), stride=4)),
        (30, 24),
    ),
    "chain in 3D": (lambda: chain(ShuffleNet((2, 1, 1)), ShuffleNet((1, 2, 2))), (9, 12, 10)),
    "ensemble": (lambda: self_ensemble(ShuffleNet((2, 2), stride=2)), (30, 24)),
    "uneven ensemble": (lambda: self_ensemble(ShuffleNet((2, 3))), (30, 24)),
    "ensemble in 3D": (lambda: self_ensemble(ShuffleNet((2, 1, 2))), (9, 12, 10)),
    "planes": (lambda: average_planes(ShuffleNet((3, 1))), (9, 12, 10)),
    "planes of strides": (lambda: average_planes(ShuffleNet((2, 1), stride=2)), (8, 12, 10)),
    "planes along y": (lambda: turned(average_planes(ShuffleNet((3, 1))), 1), (9, 12, 10)),
    "planes along x": (lambda: turned(average_planes(ShuffleNet((2, 1))), 2), (9, 12, 10)),
    "ensemble of a chain": (
        lambda: self_ensemble(chain(ShuffleNet((2, 2)), ShuffleNet((2, 2)))),
        (30, 24),
    ),
}


@pytest.mark.parametrize("kind", COMPOSED)
@pytest.mark.parametrize("tile", [5, 8])
def test_tiles_of_composed_models_equal_the_whole(kind: str, tile: int) -> None:
    build, shape = COMPOSED[kind]
    model, image = build(), image_of(*shape)
    multiple = model.spec.multiple
    assert all(n % m == 0 for n, m in zip(shape, multiple, strict=True)), (
        "the whole needs no padding"
    )
    result = upscale(image, model, tile=tile, device="cpu")
    assert_allclose(result, run_whole(model, image), atol=2e-3)


def test_a_chain_is_its_models_one_after_another() -> None:
    first, second = ShuffleNet((2, 1)), ShuffleNet((1, 3))
    image = image_of(20, 18)
    both = upscale(image, chain(first, second), tile=7, device="cpu")
    assert_allclose(both, run_whole(second, run_whole(first, image)), atol=1e-3)


def test_the_facts_of_a_chain_are_those_of_its_models() -> None:
    spec = chain(ShuffleNet((2, 3), stride=2), ShuffleNet((2, 1), stride=4)).spec
    assert spec.scale == (4, 3)
    assert spec.multiple == (2, 4)
    assert spec.halo == (5 + 6, 5 + 4)
    assert chain(ShuffleNet((2, 2)), ShuffleNet((2, 2), halo=None)).spec.halo is None


def test_interpolation_in_a_chain_follows_the_network_that_needs_a_range() -> None:
    trained = Repeat(normalisation="percentile", value_range=(0.0, 1.0))
    image = image_of(20, 18)
    result = upscale(image, chain(load_model("nearest-2x2"), trained), tile=8, device="cpu")
    assert_allclose(result[::4, ::4], image, rtol=1e-4)
    assert max(float(batch.max()) for batch in trained.seen) < 1.1


def test_ranges_are_changed_between_the_models_of_a_chain() -> None:
    small = Repeat(normalisation="percentile", value_range=(0.0, 1.0))
    large = Repeat(normalisation="percentile", value_range=(0.0, 255.0))
    image = image_of(20, 18)
    result = upscale(image, chain(small, large), tile=8, device="cpu")
    assert_allclose(result[::4, ::4], image, rtol=1e-4)
    assert max(float(batch.max()) for batch in large.seen) > 200


@pytest.mark.parametrize("method", ["linear", "cubic", "back-projection"])
@pytest.mark.parametrize("scale", ["2x2", "3x2", "2x1x2"])
def test_interpolation_treats_all_directions_alike(method: str, scale: str) -> None:
    model = load_model(f"{method}-{scale}")
    image = image_of(*(9,) * model.spec.ndim)
    single, average = (upscale(image, m, device="cpu") for m in (model, self_ensemble(model)))
    assert_allclose(average, single, rtol=1e-5, atol=1e-2)


def test_an_ensemble_is_even_though_its_model_is_not() -> None:
    model, image = ShuffleNet((2, 2)), image_of(16, 16)
    one, all_ = run_whole(model, image), run_whole(self_ensemble(model), image)
    flipped = image[::-1].copy()
    assert np.abs(run_whole(model, flipped)[::-1] - one).max() > 1
    assert_allclose(run_whole(self_ensemble(model), flipped)[::-1], all_, atol=1e-3)
    assert_allclose(run_whole(self_ensemble(model), image.T.copy()).T, all_, atol=1e-3)


def test_planes_are_averaged_over_both_orientations() -> None:
    model, volume = ShuffleNet((2, 1)), image_of(6, 7, 8)
    along_x = np.stack([run_whole(model, volume[:, :, x].copy()) for x in range(8)], 2)
    along_y = np.stack([run_whole(model, volume[:, y].copy()) for y in range(7)], 1)
    expected = (along_x + along_y) / 2
    assert_allclose(run_whole(average_planes(model), volume), expected, atol=1e-3)


def test_planes_are_told_the_noise_of_their_volume() -> None:
    class Add(Repeat):
        def forward(self, batch: torch.Tensor, *, noise: Any = None) -> torch.Tensor:
            return super().forward(batch + noise)

    model = Add(noise_input=True)
    model.spec = ShuffleNet((2, 1), noise_input=True).spec
    batch, noise = torch.zeros(2, 1, 3, 4, 5), torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1, 1)
    result = average_planes(model)(batch, noise=noise)
    assert [float(r.min()) for r in result] == [float(r.max()) for r in result] == [1.0, 2.0]


@pytest.mark.parametrize(
    "models",
    [(), (ShuffleNet((2, 2)), ShuffleNet((2, 2, 2))), (Repeat(channels=2), Repeat(channels=3))],
)
def test_models_that_do_not_fit_together_are_refused(models: tuple[Any, ...]) -> None:
    with pytest.raises(ModelError, match="chain"):
        chain(*models)


def test_planes_need_a_network_that_refines_one_axis() -> None:
    with pytest.raises(ModelError, match=r"\(2, 2\)"):
        average_planes(ShuffleNet((2, 2)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_turned_model_treats_another_axis_as_its_first(axis: int) -> None:
    model = average_planes(ShuffleNet((3, 1)))
    image = image_of(5, 8, 6)
    expected = np.moveaxis(run_whole(model, np.moveaxis(image, axis, 0).copy()), 0, axis)
    assert_allclose(run_whole(turned(model, axis), image), expected, atol=1e-3)
    assert turned(model, axis).spec.scale[axis] == 3


def test_planes_of_the_halo_are_left_out_but_change_nothing() -> None:
    model = average_planes(ShuffleNet((2, 1)))
    batch = torch.from_numpy(image_of(6, 9, 8))[None, None]
    with torch.inference_mode():
        whole = model(batch)
        part = model(batch, wanted=((0, 6), (3, 5), (2, 7)))  # type: ignore[call-arg]
    inner = (..., slice(3, 5), slice(2, 7))
    assert torch.allclose(part[inner], whole[inner], atol=1e-3)
