"""A network that runs out of memory, fails, or returns what it should not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from networks import Repeat, ShuffleNet
from numpy.testing import assert_allclose
from torch import Tensor

from napari_hrsr.devices import Placement
from napari_hrsr.errors import ComputeError, HrsrError, OutOfMemoryError
from napari_hrsr.intensity import measure_intensity
from napari_hrsr.jobs import plan_job, start_job
from napari_hrsr.models.compose import average_planes
from napari_hrsr.running import Runner
from napari_hrsr.watching import Watched

CPU = Placement(torch.device("cpu"))

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("MPS backend out of memory"),
    MemoryError("Unable to allocate 2.00 GiB"),
]


class Limited(ShuffleNet):
    """Raise beyond a number of voxels, and keep the sizes of all calls."""

    def __init__(self, scale: tuple[int, ...], limit: float, error: Any, **facts: Any) -> None:
        super().__init__(scale, **facts)
        self.limit, self.error = limit, error
        self.sizes: list[int] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Limited:
        return self

    def forward(self, batch: Tensor, *, noise: Tensor | None = None) -> Tensor:
        size = batch.shape[0] * math.prod(batch.shape[2:])
        self.sizes.append(size)
        if size > self.limit:
            raise self.error
        return super().forward(batch, noise=noise)


def image_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1000, shape).astype(np.float32)


def run(image: np.ndarray, model: Any, tile: int, **options: Any) -> np.ndarray:
    job = plan_job(image, model, tile=tile, device="cpu", **options)
    out = np.zeros(job.shape, job.dtype)
    records = list(start_job(job, out, measure_intensity(image, job.axes)))
    assert [record.done for record in records] == list(range(1, job.total + 1))
    return out


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: type(e).__name__)
def test_a_run_that_meets_a_full_memory_finishes_with_the_same_numbers(error: Exception) -> None:
    image = image_of(60, 70)
    model = Limited((2, 2), 400, error)
    assert_allclose(run(image, model, 48), run(image, ShuffleNet((2, 2)), 48), atol=1e-3)
    assert max(model.sizes) > 400


@pytest.mark.parametrize("limit", [300, 1000, 2600])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("minimum", [1, 12])
def test_parts_keep_to_the_multiples_and_the_minimum_of_a_network(
    limit: int, stride: int, minimum: int
) -> None:
    options: dict[str, Any] = {"stride": stride, "minimum": (minimum, minimum)}
    image = image_of(61, 70)
    model = Limited((2, 2), limit + 400 * stride, OUT_OF_MEMORY[0], **options)
    expected = run(image, ShuffleNet((2, 2), **options), 100)
    assert_allclose(run(image, model, 100), expected, atol=1e-3)
    assert any(size > model.limit for size in model.sizes)


def test_volumes_are_split_too() -> None:
    image = image_of(16, 20, 18)
    model = Limited((2, 1, 2), 2500, OUT_OF_MEMORY[0])
    assert_allclose(run(image, model, 16), run(image, ShuffleNet((2, 1, 2)), 16), atol=1e-3)


def test_a_size_that_failed_is_not_tried_again() -> None:
    model = Limited((2, 2), 1500, OUT_OF_MEMORY[0])
    run(image_of(200, 200), model, 40)
    failed = [size for size in model.sizes if size > 1500]
    assert len(failed) == len(set(failed)) < 6


def test_a_part_that_may_fit_is_tried() -> None:
    # Half of a tile, with its halo, is more than half as large.
    model = Limited((2, 2), 44 * 27, OUT_OF_MEMORY[0])
    run(image_of(44, 44), model, 44)
    assert sorted(set(model.sizes)) == [44 * 24, 44 * 44]


def test_no_memory_at_all_is_an_error_of_ours_with_the_numbers() -> None:
    model = Limited((2, 2), 0, OUT_OF_MEMORY[0])
    with pytest.raises(OutOfMemoryError, match=r"'test' .* \d+ x \d+ pixels on cpu.*smaller model"):
        run(image_of(40, 40), model, 32)
    assert not isinstance(OutOfMemoryError(""), RuntimeError)


def test_an_unbounded_network_is_not_split() -> None:
    model = Limited((2, 2), 100, OUT_OF_MEMORY[0], halo=None)
    with pytest.raises(OutOfMemoryError, match="40 x 40 pixels"):
        run(image_of(40, 40), model, 64)
    assert len(model.sizes) == 1


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes\ncannot be"), ValueError("odd"), KeyError("x")]
)
def test_any_other_failure_names_the_model_and_keeps_its_cause(error: Exception) -> None:
    with pytest.raises(ComputeError, match=r"'test' failed on a tile of \d+ x \d+ pixels") as info:
        run(image_of(40, 40), Limited((2, 2), 0, error), 32)
    assert info.value.__cause__ is error
    assert "\n" not in str(info.value)


class Wrong(Repeat):
    """Apply a function to what it should return."""

    def __init__(self, change: Any, **facts: Any) -> None:
        super().__init__(**facts)
        self.change = change

    def forward(self, batch: Tensor, *, noise: Tensor | None = None) -> Tensor:
        result: Tensor = self.change(super().forward(batch))
        return result


def test_a_result_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ComputeError, match=r"returned shape \(1, 1, 39, 40\)"):
        run(image_of(20, 20), Wrong(lambda x: x[:, :, 1:]), 32)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_result_that_is_not_finite_is_refused(value: float) -> None:
    def spoil(x: Tensor) -> Tensor:
        x[0, 0, 3, 3] = value
        return x

    with pytest.raises(ComputeError, match="NaN or infinite values: its weights are damaged"):
        run(image_of(20, 20), Wrong(spoil), 32)


@pytest.mark.parametrize(
    ("spoil", "precision"),
    [(lambda x: x * 1e5 / 1e5, "float16"), (lambda x: x * 1e-9 * 1e9, "float16"),
     (lambda x: x + 4096 - 4096, "bfloat16")],
    ids=["overflow", "underflow", "rounded away"],
)  # fmt: skip
def test_what_half_precision_does_not_hold_is_computed_in_float32(
    spoil: Any, precision: str
) -> None:
    image = image_of(20, 24)
    image[:, :8] *= 1e-3
    job = plan_job(image, Wrong(spoil), tile=8, device="cpu", precision=precision)
    out = np.zeros(job.shape, job.dtype)
    records = list(start_job(job, out, measure_intensity(image, job.axes)))
    assert_allclose(out, run(image, Wrong(spoil), 8), rtol=1e-2, atol=1)
    assert records[-1].precision == "float32"
    seen = Watched(job)
    for record in records:
        seen(record)
    described = seen.added_to({"precision": precision})
    assert described["precision"] == "float32"
    assert precision in described["precision_note"]
    assert "float32" in seen.told()


def test_a_constant_tile_is_no_failure_of_half_precision() -> None:
    image = np.full((20, 20), 7, np.float32)
    job = plan_job(image, ShuffleNet((2, 2)), tile=8, device="cpu", precision="bfloat16")
    out = np.zeros(job.shape, job.dtype)
    records = list(start_job(job, out, measure_intensity(image, job.axes)))
    assert {record.precision for record in records} == {"bfloat16"}


class Immovable(ShuffleNet):
    """A model whose copy does not fit on the device."""

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_model_that_does_not_fit_is_an_error_of_ours() -> None:
    with pytest.raises(OutOfMemoryError, match="could not be moved on cpu"):
        Runner(Immovable((2, 2)), CPU, (2, 2))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_model_of_planes_runs_in_every_layout(precision: str) -> None:
    image = image_of(9, 10, 11)
    planes = average_planes(ShuffleNet((2, 1)))
    assert run(image, planes, 8, precision=precision).shape == (18, 10, 11)


def test_no_expected_failure_is_a_runtime_error() -> None:
    def family(cls: type) -> set[type]:
        return {cls}.union(*(family(child) for child in cls.__subclasses__()))

    assert len(family(HrsrError)) > 5
    assert not any(issubclass(cls, RuntimeError) for cls in family(HrsrError))
