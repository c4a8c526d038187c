"""What people call: every kind of image in, every kind of result out, and clear refusals."""

from __future__ import annotations

import getpass
import json
import socket
import threading
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.layers import Image
from networks import Repeat
from numpy.testing import assert_allclose, assert_array_equal

from napari_hrsr import CancelledError, HrsrError, list_models, load_model, upscale, upscale_layer
from napari_hrsr.errors import DeviceError, InputError, ModelError, OutputError
from napari_hrsr.intensity import Intensity, measure_intensity
from napari_hrsr.jobs import plan_job
from napari_hrsr.layers import RECORD_KEY

NEAREST = "nearest-2x2"


def image_of(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 250, shape).astype(dtype)


def repeated(image: np.ndarray, factor: tuple[int, ...]) -> np.ndarray:
    for axis, k in enumerate(factor):
        image = image.repeat(k, axis)
    return image


def no_threads_left() -> bool:
    return not [t for t in threading.enumerate() if t.name.startswith("hrsr-")]


@pytest.mark.parametrize(
    ("shape", "model", "axes", "factor"),
    [
        ((7, 8), NEAREST, None, (2, 2)),
        ((1, 1), NEAREST, None, (2, 2)),
        ((3, 4, 5), "nearest-2x3x4", None, (2, 3, 4)),
        ((3, 4, 5), NEAREST, None, (1, 2, 2)),
        ((3, 4, 5), NEAREST, "tyx", (1, 2, 2)),
        ((7, 8, 4), NEAREST, "YXS", (2, 2, 1)),
        ((2, 2, 3, 4, 5), "nearest-4x1x1", "TCZYX", (1, 1, 4, 1, 1)),
    ],
)
def test_arrays(
    shape: tuple[int, ...], model: str, axes: str | None, factor: tuple[int, ...]
) -> None:
    image = image_of(*shape)
    if axes == "YXS":
        image[..., -1] = 200
    assert_array_equal(upscale(image, model, axes=axes, tile=3), repeated(image, factor))


def test_the_default_model_doubles_and_stays_close_to_the_image() -> None:
    for ndim, n in ((2, 40), (3, 16)):
        ramp = np.indices((n,) * ndim).sum(0).astype(np.uint16) * 100 + 1000
        result = upscale(ramp)
        assert result.shape == (2 * n,) * ndim
        assert result.dtype == np.uint16
        blocks = result.reshape(*(v for _ in range(ndim) for v in (n, 2)))
        mean = blocks.mean(tuple(range(1, 2 * ndim, 2)))
        inner = (slice(3, -3),) * ndim
        assert_allclose(mean[inner], ramp[inner], atol=60)


@pytest.mark.parametrize("model", ["lanczos-2x2", "back-projection-2x2", "general-2d-x2"])
def test_a_constant_image_stays_constant(model: str) -> None:
    image = np.full((20, 24), 117, np.uint8)
    assert_allclose(upscale(image, model)[4:-4, 4:-4].astype(int), 117, atol=1)


def test_a_layer_and_its_pixels_give_the_same() -> None:
    image = image_of(9, 8)
    layer = Image(image)
    assert_array_equal(upscale(layer, NEAREST), upscale(image, NEAREST))
    assert_array_equal(upscale_layer(layer, NEAREST)[0], upscale(image, NEAREST))


def test_a_model_may_be_given_by_name_by_file_or_itself(tmp_path: Path) -> None:
    image = image_of(20, 21)
    expected = upscale(image, "general-2d-x2")
    model = load_model("general-2d-x2")
    assert_array_equal(upscale(image, model), expected)
    from napari_hrsr.models.catalog import WEIGHTS_FOLDER, find_spec

    weights = find_spec("general-2d-x2").weights
    assert weights is not None
    copy = tmp_path / "mine.safetensors"
    copy.write_bytes((WEIGHTS_FOLDER / weights.file).read_bytes())
    assert_array_equal(upscale(image, copy), expected)


def test_the_result_is_written_into_the_array_that_is_given() -> None:
    image = image_of(9, 8)
    for out in (
        np.zeros((18, 16), np.uint8),
        np.zeros((18, 16), np.float32),
        np.zeros((16, 18), np.uint8).T,
        zarr.zeros((18, 16), chunks=(5, 7), dtype="u1"),
    ):
        assert upscale(image, NEAREST, tile=3, out=out) is out
        assert_array_equal(out[:], repeated(image, (2, 2)))


def test_the_record_says_the_type_that_was_written() -> None:
    out = np.zeros((18, 16), np.float32)
    attributes = upscale_layer(Image(image_of(9, 8)), NEAREST, out=out)[1]
    assert attributes["metadata"][RECORD_KEY]["dtype"] == "float32"


def test_the_result_is_written_to_a_path(tmp_path: Path) -> None:
    image = image_of(40, 30)
    path = tmp_path / "result.ome.zarr"
    for given in (str(path), tmp_path / "again.ome.zarr"):
        result = upscale(image, NEAREST, tile=16, out=given)
        assert_array_equal(result[:], repeated(image, (2, 2)))
    assert_array_equal(zarr.open_group(path, mode="r")["0"][:], repeated(image, (2, 2)))
    with pytest.raises(OutputError, match=r"result\.ome\.zarr"):
        upscale(image, NEAREST, out=path)


def test_a_colour_result_is_written_to_a_path(tmp_path: Path) -> None:
    image = image_of(20, 30, 3)
    result = upscale(image, NEAREST, axes="YXS", tile=8, out=tmp_path / "c.ome.zarr")
    assert_array_equal(result[:], repeated(image, (2, 2, 1)))


@pytest.mark.parametrize(
    ("out", "words"),
    [
        (np.zeros((18, 17), np.uint8), r"shape \(18, 17\), the result needs \(18, 16\)"),
        (da.zeros((18, 16)), "dask arrays cannot be written"),
        (np.broadcast_to(np.uint8(0), (18, 16)), "read-only"),
        (np.zeros((18, 16), complex), "complex"),
    ],
)
def test_a_result_that_cannot_be_written_into_is_refused(out: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        upscale(image_of(9, 8), NEAREST, out=out)


def test_an_image_is_never_overwritten_by_its_own_result() -> None:
    image = image_of(9, 8)
    with pytest.raises(InputError, match="the image itself"):
        upscale(image, "nearest-1x1", out=image)


def test_a_region_is_that_part_of_the_whole() -> None:
    image = image_of(2, 40, 30, dtype=np.uint16)
    whole = upscale(image, "general-2d-x2", axes="CYX", tile=16)
    part = upscale(image, "general-2d-x2", axes="CYX", tile=16, region=[(1, 2), (7, 29), None])
    assert_allclose(part.astype(int), whole[1:2, 14:58].astype(int), atol=1)


def test_progress_is_told_after_every_tile() -> None:
    calls: list[tuple[int, int]] = []
    upscale(image_of(9, 8), NEAREST, tile=3, progress=lambda *call: calls.append(call))
    assert calls == [(i, 9) for i in range(1, 10)]


def test_a_bar_is_shown_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    upscale(image_of(9, 8), NEAREST, progress=True)
    captured = capsys.readouterr()
    assert "Upscaling" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("kind", ["event", "callable"])
@pytest.mark.parametrize("to_file", [False, True])
def test_a_cancelled_run_says_so_and_leaves_nothing(
    kind: str, to_file: bool, tmp_path: Path
) -> None:
    event = threading.Event()
    options: dict[str, Any] = {"out": tmp_path / "result.ome.zarr"} if to_file else {}
    with pytest.raises(CancelledError, match=r"cancelled after \d+ of 400 tiles"):
        upscale(
            image_of(20, 20),
            NEAREST,
            tile=1,
            progress=lambda done, total: event.set(),
            cancelled=event if kind == "event" else event.is_set,
            **options,
        )
    assert list(tmp_path.iterdir()) == []
    assert no_threads_left()


def test_a_failed_run_leaves_nothing(tmp_path: Path) -> None:
    image = np.zeros((20, 20), np.float32)
    image[3, 4] = np.nan
    with pytest.raises(InputError, match=r"\(3, 4\)"):
        upscale(image, NEAREST, out=tmp_path / "result.ome.zarr")
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_progress_callable_ends_the_run() -> None:
    def fail(done: int, total: int) -> None:
        raise KeyError(done)

    with pytest.raises(KeyError):
        upscale(image_of(20, 20), NEAREST, tile=4, progress=fail)
    assert no_threads_left()


class Untouchable:
    """An image of absurd size whose pixels nobody may read."""

    def __init__(self, *shape: int) -> None:
        self.shape, self.dtype, self.ndim = shape, np.dtype(np.uint16), len(shape)

    def __getitem__(self, key: Any) -> Any:
        raise AssertionError("pixels were read")


@pytest.mark.parametrize(
    ("source", "model"),
    [
        (Untouchable(10**5, 10**5, 10**5), "nearest-16x16x16"),
        (da.zeros((10**5, 10**5, 100), chunks=1000, dtype=np.uint16), "cubic-2x2x2"),
        (Untouchable(10**7, 10**7), NEAREST),
    ],
)
def test_a_result_that_cannot_fit_is_refused_before_a_pixel_is_read(
    source: Any, model: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"GB\) does not fit in memory .*out="):
        upscale(source, model)
    with pytest.raises(OutputError):
        upscale(source, model, out=tmp_path / "result.ome.zarr")
    assert list(tmp_path.iterdir()) == []


def test_the_noise_is_measured_or_as_told() -> None:
    image = np.random.default_rng(0).normal(1000, 50, (64, 64)).astype(np.float32)
    for given, expected in (("auto", 50), (0, 0), (12.5, 12.5), ("7", 7)):
        model = Repeat(noise_input=True)
        upscale(image, model, noise=given)  # type: ignore[arg-type]
        assert model.noises[0] is not None
        assert float(model.noises[0]) == pytest.approx(expected, rel=0.15)


def test_intensity_is_shared_as_told() -> None:
    image = image_of(3, 12, 12)
    image[1:] = image[1:] // 4
    seen = {}
    for intensity in ("channel", "image", None):
        model = Repeat(normalisation="percentile")
        upscale(image, model, axes="CYX", intensity=intensity)  # type: ignore[arg-type]
        seen[intensity] = sorted(float(b.max()) for batch in model.seen for b in batch)
    assert seen[None] == seen["channel"]
    assert min(seen["channel"]) > 0.9
    assert min(seen["image"]) < 0.4


def test_a_given_intensity_is_used_and_the_values_are_still_checked() -> None:
    image = image_of(12, 12, dtype=np.float32)
    job = plan_job(image, NEAREST)
    measured = measure_intensity(image, job.axes)
    double = Intensity(measured.low, measured.high * 2, measured.noise)
    model = Repeat(normalisation="percentile")
    assert_allclose(upscale(image, model, intensity=double)[::2, ::2], image, atol=1e-3)
    assert max(float(batch.max()) for batch in model.seen) < 0.6
    image[2, 2] = np.nan
    with pytest.raises(InputError, match="NaN"):
        upscale(image, NEAREST, intensity=double)
    with pytest.raises(InputError, match="measure it again"):
        upscale(image_of(3, 12, 12), NEAREST, intensity=double)


def test_the_type_of_the_result_can_be_chosen() -> None:
    image = image_of(9, 8)
    for dtype in (np.float32, "uint16", np.dtype("f8")):
        result = upscale(image, NEAREST, dtype=dtype)
        assert result.dtype == dtype
        assert_array_equal(result[::2, ::2], image)


WRONG: dict[str, tuple[dict[str, Any], type[HrsrError], str]] = {
    "model": ({"model": "super-2x2"}, ModelError, "no model 'super-2x2'"),
    "model of 3D": ({"model": "cubic-2x2x2"}, InputError, "needs a Z axis"),
    "axes": ({"axes": "YXC"}, InputError, "name 3 axes, but the image has 2"),
    "axes without X": ({"axes": "TY"}, InputError, "lack X"),
    "axes twice": ({"axes": "YY"}, InputError, "twice"),
    "axes order": ({"axes": "XY"}, InputError, "order Z, Y, X"),
    "axes digits": ({"axes": "Y1"}, InputError, "letters"),
    "tile of 0": ({"tile": 0}, InputError, "tile must be"),
    "tile of floats": ({"tile": 3.5}, InputError, "tile must be"),
    "tile of three": ({"tile": (8, 8, 8)}, InputError, "tile must be"),
    "tile of letters": ({"tile": "64"}, InputError, "tile must be"),
    "device": ({"device": "gpu"}, DeviceError, "unknown device 'gpu'"),
    "device absent": ({"device": "cuda:99"}, DeviceError, "not available"),
    "precision": ({"precision": "float8"}, DeviceError, "unknown precision"),
    "intensity": ({"intensity": "tile"}, InputError, "'tile'"),
    "noise": ({"noise": "much"}, InputError, "noise is 'auto' or"),
    "noise below 0": ({"noise": -1}, InputError, "noise is 'auto' or"),
    "noise not a number": ({"noise": float("nan")}, InputError, "noise is 'auto' or"),
    "dtype": ({"dtype": "colour"}, InputError, "'colour'"),
    "dtype complex": ({"dtype": complex}, InputError, "complex"),
    "region": ({"region": [(0, 99), None]}, InputError, "0:99 on axis Y"),
    "region of one": ({"region": [(0, 2)]}, InputError, "one entry per axis"),
    "region of floats": ({"region": [(0.5, 2), None]}, InputError, "whole pixels"),
    "region empty": ({"region": [(2, 2), None]}, InputError, "2:2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_option_is_named(case: str) -> None:
    options, error, words = WRONG[case]
    with pytest.raises(error, match=words):
        upscale(image_of(9, 8), **({"model": NEAREST} | options))


@pytest.mark.parametrize(
    ("shape", "axes", "words"),
    [
        ((9, 8, 5), "YXS", "5 samples"),
        ((2, 3, 9, 8), None, "needs their names"),
        ((9,), None, "at least 2 axes"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(
    shape: tuple[int, ...], axes: str | None, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        upscale(image_of(*shape), NEAREST, axes=axes)


def test_a_colour_model_takes_grey_as_every_colour() -> None:
    image = image_of(9, 8)
    assert_array_equal(upscale(image, Repeat(channels=3)), repeated(image, (2, 2)))
    with pytest.raises(ModelError, match="needs 3 colour samples, the image has 1"):
        upscale(image_of(9, 8, 2), Repeat(channels=3), axes="YXS")


def test_a_model_of_the_whole_image_runs_in_one_tile_where_it_can() -> None:
    model, image = Repeat(halo=None), image_of(20, 20)
    assert_array_equal(upscale(image, model), repeated(image, (2, 2)))


def test_every_result_says_how_it_was_made(tmp_path: Path) -> None:
    layer = Image(image_of(30, 20), name="cells")
    _, attributes, kind = upscale_layer(
        layer, "general-2d-x2", tile=16, region=[(2, 30), None], noise=3.0
    )
    assert kind == "image"
    record = attributes["metadata"][RECORD_KEY]
    weights = load_model("general-2d-x2").spec.weights
    assert weights is not None
    expected = {
        "software": "napari-hrsr",
        "model": "general-2d-x2",
        "weights_sha256": weights.sha256,
        "factor": [2, 2],
        "axes": "YX",
        "source": "cells",
        "source_shape": [30, 20],
        "region": [[2, 30], [0, 20]],
        "dtype": "uint8",
        "tile": [14, 10],
        "precision": "float32",
    }
    assert {key: record[key] for key in expected} == expected
    assert record["intensity"]["noise"] == 3.0
    assert set(record["versions"]) >= {"python", "torch", "numpy"}


def test_the_record_holds_no_trace_of_person_or_machine(tmp_path: Path) -> None:
    image = np.memmap(tmp_path / "patient.raw", np.uint8, "w+", shape=(9, 8))
    layer = Image(image, name="cells", metadata={"path": str(tmp_path)})
    attributes = upscale_layer(layer, NEAREST)[1]
    text = json.dumps(attributes["metadata"])
    for secret in (str(tmp_path), "patient", str(Path.home()), socket.gethostname()):
        assert secret not in text
    assert f'"{getpass.getuser()}"' not in text


# Every model that ships

TRAINED = [spec for spec in list_models() if spec.weights is not None]


@pytest.mark.parametrize("spec", TRAINED, ids=lambda spec: spec.name)
def test_tiles_of_every_trained_model_equal_the_whole(spec: Any) -> None:
    shape = (90, 75) if spec.ndim == 2 else (22, 40, 21)
    axes = "ZYX"[-spec.ndim :]
    if spec.channels == 3:
        shape, axes = (*shape, 3), axes + "S"
    image = np.random.default_rng(0).normal(500, 200, shape).astype(np.float32)
    model = load_model(spec.name)
    whole = upscale(image, model, tile=1000, device="cpu", axes=axes)
    extent = float(np.ptp(image))
    for tile in (16, 37):
        result = upscale(image, model, tile=tile, device="cpu", axes=axes)
        assert_allclose(result, whole, atol=1e-5 * extent)
