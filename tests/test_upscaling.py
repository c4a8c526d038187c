"""The generator: tiles equal the whole, pixels land where they belong, nothing is left behind."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Repeat, ShuffleNet, make_spec
from numpy.testing import assert_allclose, assert_array_equal

from napari_hrsr.axes import resolve_axes
from napari_hrsr.errors import InputError, OutputError
from napari_hrsr.intensity import Intensity, measure_intensity
from napari_hrsr.jobs import plan_job, start_job
from napari_hrsr.models.compose import average_planes
from napari_hrsr.models.nets.interpolation import Interpolation
from napari_hrsr.upscaling import TileDone, normalisation, upscale_tiles

NETWORKS = {
    (scale, stride): ShuffleNet(scale, stride=stride)
    for scale in [(2, 2), (2, 2, 2), (4, 1, 1), (1, 2, 2)]
    for stride in (1, 2, 3)
}


def values(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1000, shape).astype(dtype)


def levels(image: Any, axes: str, ndim: int) -> Intensity:
    return measure_intensity(image, resolve_axes(axes, ndim))


def run(image: Any, model: Any, *, axes: str | None = None, **options: Any) -> np.ndarray:
    job = plan_job(image, model, axes=axes, device="cpu", **options)
    out = np.zeros(job.shape, job.dtype)
    measured = levels(job.source, job.axes.names, model.spec.ndim)
    assert len(list(start_job(job, out, measured))) == job.total
    return out


def hrsr_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("hrsr-")]


# Tiles are exact


@st.composite
def tiled_runs(draw: st.DrawFn) -> tuple[ShuffleNet, np.ndarray, list[int]]:
    network = NETWORKS[draw(st.sampled_from(sorted(NETWORKS)))]
    ndim = network.spec.ndim
    shape = draw(st.lists(st.integers(1, 40 if ndim == 2 else 14), min_size=ndim, max_size=ndim))
    tile = draw(st.lists(st.integers(1, 50), min_size=ndim, max_size=ndim))
    if ndim == 3:  # Tiles of a few pixels in three dimensions make many tiles.
        tile = [max(4, t) for t in tile]
    return network, values(tuple(shape), seed=draw(st.integers(0, 9))), tile


def whole(image: np.ndarray, network: Any) -> np.ndarray:
    """Run a network once, on the image padded as the plan says."""
    padded = image
    for axis, (n, m, least) in enumerate(
        zip(image.shape, network.spec.multiple, network.spec.minimum, strict=True)
    ):
        length = -(-max(n, least) // m) * m
        mode = "reflect" if length - n < n else "edge"
        widths = [(0, 0)] * image.ndim
        widths[axis] = (0, length - n)
        padded = np.pad(padded, widths, mode=mode)
    with torch.inference_mode():
        result = network(torch.from_numpy(padded.astype(np.float32))[None, None])[0, 0].numpy()
    return result[tuple(slice(n * k) for n, k in zip(image.shape, network.spec.scale, strict=True))]


@given(tiled_runs())
def test_tiles_equal_the_whole(case: tuple[ShuffleNet, np.ndarray, list[int]]) -> None:
    network, image, tile = case
    assert_allclose(run(image, network, tile=tile), whole(image, network), atol=1e-3)


@given(tiled_runs(), st.data())
def test_a_region_is_the_crop_of_the_whole(
    case: tuple[ShuffleNet, np.ndarray, list[int]], data: st.DataObject
) -> None:
    network, image, tile = case
    starts = [data.draw(st.integers(0, n - 1)) for n in image.shape]
    region = [
        (a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, image.shape, strict=True)
    ]
    crop = tuple(slice(a * k, b * k) for (a, b), k in zip(region, network.spec.scale, strict=True))
    assert_allclose(
        run(image, network, tile=tile, region=region), whole(image, network)[crop], atol=1e-3
    )


@pytest.mark.parametrize("minimum", [1, 9, 30])
@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("shape", [(23, 17), (1, 40), (5, 6)])
def test_a_network_with_a_minimum_is_tiled_exactly(
    shape: tuple[int, int], stride: int, minimum: int
) -> None:
    network = ShuffleNet((2, 2), stride=stride, minimum=(minimum, minimum))
    image = values(shape)
    for tile in (1, 5, 64):
        assert_allclose(run(image, network, tile=tile), whole(image, network), atol=1e-3)


@pytest.mark.parametrize(("scale", "shape"), [((2, 2), (40, 40)), ((2, 2, 2), (14, 14, 14))])
def test_a_halo_one_pixel_too_short_shows(scale: tuple[int, ...], shape: tuple[int, ...]) -> None:
    image = values(shape)
    exact = ShuffleNet(scale)
    short = ShuffleNet(scale, halo=tuple(h - 1 for h in exact.spec.halo or ()))
    expected = whole(image, exact)
    assert_allclose(run(image, exact, tile=7), expected, atol=1e-3)
    assert np.abs(run(image, short, tile=7) - expected).max() > 1


def test_batches_of_tiles_equal_single_tiles() -> None:
    image, network = values((40, 50)), ShuffleNet((2, 2))
    job = plan_job(image, network, tile=9, device="cpu")
    assert job.placement.batch > 1
    outs = []
    for batch in (1, 3, 16):
        out = np.zeros(job.shape, job.dtype)
        placement = type(job.placement)(job.placement.device, job.placement.dtype, batch)
        list(
            upscale_tiles(
                image,
                network,
                out,
                job.plan,
                axes=job.axes,
                intensity=levels(image, "YX", 2),
                placement=placement,
            )
        )
        outs.append(out)
    assert_allclose(outs[1], outs[0], atol=1e-3)
    assert_allclose(outs[2], outs[0], atol=1e-3)


# Axes


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("TCYX", (2, 3, 9, 8)), ("YXC", (9, 8, 2)), ("ZYX", (4, 9, 8)), ("YTX", (9, 2, 8))],
)
def test_other_axes_are_looped_over(axes: str, shape: tuple[int, ...]) -> None:
    image, network = values(shape), ShuffleNet((2, 2))
    result = run(image, network, axes=axes, tile=5)
    looped = [axis for axis, letter in enumerate(axes) if letter not in "YX"]
    for index in itertools.product(*(range(shape[axis]) for axis in looped)):
        key: list[Any] = [slice(None)] * len(shape)
        for axis, i in zip(looped, index, strict=True):
            key[axis] = i
        assert_allclose(result[tuple(key)], whole(image[tuple(key)], network), atol=1e-3)


def test_a_region_of_looped_axes_is_the_crop_of_the_whole() -> None:
    image, network = values((3, 4, 10, 9)), ShuffleNet((2, 2))
    result = run(image, network, axes="TCYX", tile=4, region=[(1, 3), (2, 3), None, (2, 7)])
    expected = run(image, network, axes="TCYX", tile=4)[1:3, 2:3, :, 4:14]
    assert_allclose(result, expected, atol=1e-3)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_colours_are_upscaled_one_by_one_wherever_they_are(position: int) -> None:
    image, network = values((9, 8, 3), np.float32), ShuffleNet((2, 2))
    axes = "".join(np.insert(list("YX"), position, "S"))
    result = run(np.moveaxis(image, -1, position), network, axes=axes, tile=5)
    for colour in range(3):
        expected = whole(image[..., colour], network)
        assert_allclose(np.moveaxis(result, position, -1)[..., colour], expected, atol=1e-3)


@pytest.mark.parametrize("samples", [2, 4])
def test_opacity_is_interpolated_and_never_shown_to_the_network(samples: int) -> None:
    image = np.random.default_rng(0).integers(0, 100, (13, 12, samples)).astype(np.uint8)
    image[..., -1] += 150
    model = Repeat()
    result = run(image, model, axes="YXS", tile=5)
    assert max(float(batch.max()) for batch in model.seen) < 150
    linear = Interpolation(2, (2, 2), "linear")
    alpha = linear(torch.from_numpy(image[None, None, ..., -1].astype(np.float32)))[0, 0].numpy()
    assert_array_equal(result[..., -1], np.rint(alpha).astype(np.uint8))
    assert_array_equal(result[::2, ::2, :-1], image[..., :-1])


def test_a_colour_network_sees_the_colours_together() -> None:
    model = Repeat(channels=3)
    image = np.random.default_rng(0).integers(0, 255, (9, 8, 4)).astype(np.uint8)
    assert_array_equal(run(image, model, axes="YXS", tile=5)[1::2, 1::2, :3], image[..., :3])
    assert {batch.shape[1] for batch in model.seen} == {3}


# Intensity


def test_each_channel_is_normalised_with_its_own_levels() -> None:
    image = values((2, 20, 20))
    image[1] = image[1] * 30 + 5000
    model = Repeat(normalisation="percentile", value_range=(0.0, 1.0))
    result = run(image, model, axes="CYX", tile=7)
    assert_allclose(result[:, ::2, ::2], image, rtol=1e-4)
    seen = np.concatenate([batch.numpy().ravel() for batch in model.seen])
    assert seen.min() > -0.1
    assert seen.max() < 1.1
    assert seen.reshape(2, -1).std(1) == pytest.approx(seen.std(), rel=0.05)


def test_the_network_is_told_the_noise_in_its_own_units() -> None:
    image = values((20, 20))
    model = Repeat(normalisation="percentile", noise_input=True)
    job = plan_job(image, model, tile=32, device="cpu")
    measured = levels(image, "YX", 2).with_noise(25.0)
    list(start_job(job, np.zeros(job.shape, job.dtype), measured))
    low, high, _ = measured.at(())
    (noise,) = model.noises
    assert noise is not None
    assert noise.shape == (1, 1, 1, 1)
    assert noise.item() == pytest.approx(25 / (high - low))


@pytest.mark.parametrize(
    ("kind", "dtype", "value", "expected"),
    [
        ("none", np.uint8, 77.0, 77.0),
        ("range", np.uint8, 255.0, 1.0),
        ("range", np.int16, -32768.0, -1.0),
        ("range", np.float32, 0.25, -0.5),
        ("percentile", np.uint16, 300.0, 1.0),
        ("percentile", np.uint16, 100.0, -1.0),
    ],
)
def test_normalisation(kind: Any, dtype: Any, value: float, expected: float) -> None:
    spec = make_spec(2, (2, 2), normalisation=kind, value_range=(-1.0, 1.0))
    offset, gain = normalisation(spec, np.dtype(dtype), 100.0, 300.0)
    assert (value - offset) / gain == pytest.approx(expected)


# Types and storage


class Overshoot(Repeat):
    """Add 0.5 above the middle and 40 beyond both ends."""

    def forward(self, batch: torch.Tensor, *, noise: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(batch) * 1.5 - 40.25


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int8])
def test_results_keep_their_type_and_are_rounded_and_clipped(dtype: Any) -> None:
    limits = np.iinfo(dtype)
    image = np.linspace(limits.min, limits.max, 400).astype(dtype).reshape(20, 20)
    result = run(image, Overshoot(), tile=7)
    assert result.dtype == dtype
    exact = image.astype(np.float32) * 1.5 - 40.25
    assert exact.min() < limits.min
    assert exact.max() > limits.max
    assert_array_equal(result[::2, ::2], np.clip(np.rint(exact), limits.min, limits.max))


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f2", "f4", "f8", ">u2", ">f4", ">i4"])
def test_every_type_comes_back_in_native_byte_order(dtype: str) -> None:
    image = (values((15, 14)) - (500 if np.dtype(dtype).kind != "u" else 0)) / 5
    image = image.astype(dtype)
    result = run(image, Repeat(), tile=6)
    assert result.dtype == np.dtype(dtype).newbyteorder("=")
    assert_array_equal(result[1::2, ::2], image)


def stored(image: np.ndarray, kind: str, folder: Path) -> Any:
    if kind == "big-endian":
        return image.astype(image.dtype.newbyteorder(">"))
    if kind == "read-only":
        copy = image.copy()
        copy.flags.writeable = False
        return copy
    if kind == "negative strides":
        return image[::-1, :, ::-1].copy()[::-1, :, ::-1]
    if kind == "every second":
        return np.repeat(image, 2, axis=1)[:, ::2]
    if kind == "fortran":
        return np.asfortranarray(image)
    if kind == "dask":
        return da.from_array(image, chunks=(3, 7, 5))
    if kind == "zarr":
        return zarr.array(image, chunks=(3, 7, 5))
    memmap = np.memmap(folder / "image.raw", image.dtype, "w+", shape=image.shape)
    memmap[:] = image
    memmap.flush()
    return np.memmap(folder / "image.raw", image.dtype, "r", shape=image.shape)


@pytest.mark.parametrize(
    "kind",
    [
        "big-endian",
        "read-only",
        "negative strides",
        "every second",
        "fortran",
        "dask",
        "zarr",
        "memmap",
    ],
)
@pytest.mark.parametrize("ndim", [2, 3])
def test_storage_does_not_change_a_single_bit(kind: str, ndim: int, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(-300, 3000, (6, 14, 13)).astype(np.int16)
    network = NETWORKS[((2,) * ndim, 2)]
    other = stored(image, kind, tmp_path)
    before = np.array(other)
    result = run(other, network, axes="ZYX", tile=6)
    assert_array_equal(result, run(image, network, axes="ZYX", tile=6))
    assert_array_equal(np.array(other), before)


# Records


def start(image: np.ndarray, model: Any, out: Any = None, **options: Any) -> Iterator[TileDone]:
    job = plan_job(image, model, tile=5, device="cpu", axes="TYX")
    out = np.zeros(job.shape, job.dtype) if out is None else out
    return start_job(job, out, levels(image, "TYX", 2), **options)


def test_records_count_to_the_total_and_cover_the_result_once() -> None:
    image = values((2, 13, 12))
    records = list(start(image, Repeat()))
    assert [record.done for record in records] == list(range(1, len(records) + 1))
    assert {record.total for record in records} == {len(records)} == {2 * 3 * 3}
    assert sorted(record.index for record in records) == list(range(len(records)))
    covered = np.zeros((2, 26, 24), int)
    for record in records:
        covered[tuple(slice(*bounds) for bounds in record.region)] += 1
    assert (covered == 1).all()


def test_a_record_comes_after_its_pixels() -> None:
    image = values((2, 13, 12)) + 1
    out = np.zeros((2, 26, 24), np.float32)
    for record in start(image, Repeat(), out):
        assert (out[tuple(slice(*bounds) for bounds in record.region)] > 0).all()


def test_chosen_tiles_are_done_in_the_order_given() -> None:
    image = values((2, 13, 12)) + 1
    out = np.zeros((2, 26, 24), np.float32)
    records = list(start(image, Repeat(), out, indices=[17, 0, 4]))
    assert [(r.index, r.done, r.total) for r in records] == [(17, 1, 3), (0, 2, 3), (4, 3, 3)]
    written = np.zeros(out.shape, bool)
    for record in records:
        written[tuple(slice(*bounds) for bounds in record.region)] = True
    assert_array_equal(out > 0, written)


def big_run(**options: Any) -> Iterator[TileDone]:
    image = values((20, 12, 12))
    job = plan_job(image, Repeat(), tile=4, device="cpu", axes="TYX")
    placement = type(job.placement)(torch.device("cpu"), torch.float32, 2)
    return upscale_tiles(
        image,
        job.model,
        np.zeros(job.shape, job.dtype),
        job.plan,
        axes=job.axes,
        intensity=levels(image, "TYX", 2),
        placement=placement,
        **options,
    )


def test_cancelling_stops_and_gives_the_threads_back() -> None:
    event = threading.Event()
    records = []
    for record in big_run(cancelled=event.is_set):
        records.append(record)
        assert hrsr_threads()
        event.set()
    assert 1 <= len(records) < 10
    assert [record.done for record in records] == list(range(1, len(records) + 1))
    assert not hrsr_threads()


def test_a_run_that_is_cancelled_at_once_does_nothing() -> None:
    assert list(big_run(cancelled=lambda: True)) == []
    assert not hrsr_threads()


def test_an_abandoned_generator_gives_the_threads_back() -> None:
    tiles = big_run()
    next(tiles)
    assert hrsr_threads()
    tiles.close()  # type: ignore[attr-defined]
    assert not hrsr_threads()


def test_inference_mode_does_not_leak_into_the_consumer() -> None:
    for _ in big_run():
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
        assert (torch.ones(1, requires_grad=True) * 2).requires_grad


def test_the_model_given_is_left_as_it_was() -> None:
    network = ShuffleNet((2, 2)).double().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    run(values((20, 20)), network, tile=8, precision="bfloat16")
    assert network.training
    assert all(weight.requires_grad for weight in network.parameters())
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == torch.float64
        assert_array_equal(tensor, before[name])


class Fails:
    """An array whose pixels cannot be read or written."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype, self.ndim = shape, np.dtype(np.float32), len(shape)

    def __getitem__(self, key: Any) -> Any:
        raise RuntimeError("bad sector")

    def __setitem__(self, key: Any, value: Any) -> None:
        raise OSError(28, "No space left on device")


def test_a_read_failure_is_named_and_gives_the_threads_back() -> None:
    source = Fails((2, 13, 12))
    job = plan_job(source, Repeat(), tile=5, device="cpu", axes="TYX")
    measured = levels(values((2, 13, 12)), "TYX", 2)
    with pytest.raises(InputError, match=r"\[0, 0:5, .*bad sector"):
        list(start_job(job, np.zeros(job.shape, np.float32), measured))
    assert not hrsr_threads()


def test_a_write_failure_is_named_and_gives_the_threads_back() -> None:
    with pytest.raises(OutputError, match="No space left"):
        list(start(values((2, 13, 12)), Repeat(), Fails((2, 26, 24))))
    assert not hrsr_threads()


@settings(max_examples=10)
@given(st.integers(0, 5))
def test_runs_may_overlap(seed: int) -> None:
    first, second = (values((2, 13, 12), seed=seed + i) for i in range(2))
    outs = [np.zeros((2, 26, 24), np.float32) for _ in range(2)]
    pairs = zip(start(first, Repeat(), outs[0]), start(second, Repeat(), outs[1]), strict=True)
    assert len(list(pairs)) == 18
    assert_array_equal(outs[0][:, ::2, ::2], first)
    assert_array_equal(outs[1][:, 1::2, ::2], second)


def test_a_model_that_takes_long_over_a_tile_is_stopped_within_it():
    model = average_planes(ShuffleNet((2, 1)))
    source = np.random.default_rng(0).random((40, 200, 200)).astype(np.float32)
    job = plan_job(source, model, tile=200, device="cpu")
    asked = itertools.count()
    out = np.zeros(job.shape, np.float32)
    measured = levels(source, "ZYX", 3)
    assert job.total == 1
    # Not before the tile is read, but before its planes are all done.
    assert list(start_job(job, out, measured, cancelled=lambda: next(asked) > 4)) == []
    assert 4 < next(asked) < 12
    assert not out.any()
