"""What is measured of an image, what is refused, and how numbers become pixels again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from napari_hrsr.axes import resolve_axes
from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.intensity import (
    Intensity,
    check_values,
    intensity_from_summary,
    measure_intensity,
)
from napari_hrsr.pixels import cast_values, check_source, read_block


def measure(image: Any, names: str, ndim: int = 2, **options: Any) -> Intensity:
    return measure_intensity(image, resolve_axes(names, ndim), **options)


def grey(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1000, 100, shape).astype(np.float32)


# What is an image


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "None"),
        (np.zeros((4, 4), bool), "mask"),
        (np.zeros((4, 4), complex), r"np\.abs"),
        (np.zeros((4, 4), object), "float32"),
        (np.zeros((4, 4), "U3"), "float32"),
        (np.zeros((4, 4), "M8[s]"), "float32"),
        (np.zeros((4, 4), [("a", "f4")]), "float32"),
        (np.ma.masked_array(np.zeros((4, 4)), mask=True), "filled"),
        (np.float32(3), r"shape \(\)"),
        (np.zeros(5), r"shape \(5,\)"),
        (np.zeros((4, 0)), "empty"),
        ([[1, 2], [3]], "not an image"),
        ([[True, False]], "mask"),
        ("cells.tif", "not supported"),
    ],
)
def test_what_is_not_an_image_is_refused(source: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_source(source)


def test_a_dask_array_of_unknown_shape_is_refused_with_the_remedy() -> None:
    image = da.ones((8, 8), chunks=4)
    with pytest.raises(InputError, match="compute_chunk_sizes"):
        check_source(image[image[:, 0] > 0])


def test_lists_and_torch_tensors_become_arrays() -> None:
    assert_array_equal(check_source([[1, 2], [3, 4]]), [[1, 2], [3, 4]])
    assert_array_equal(check_source(torch.arange(4.0).reshape(2, 2)), [[0, 1], [2, 3]])


def test_arrays_are_passed_on_and_not_copied() -> None:
    for image in (np.zeros((4, 4)), da.zeros((4, 4)), zarr.zeros((4, 4))):
        assert check_source(image) is image


# Values


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr"])
def test_one_bad_pixel_deep_in_a_volume_is_found(
    value: float, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_hrsr.intensity._SLAB", 2000)
    volume = grey(9, 70, 80)
    volume[7, 65, 41] = value
    image: Any = volume
    if kind == "dask":
        image = da.from_array(volume, chunks=(4, 20, 30))
    elif kind == "zarr":
        image = zarr.array(volume, chunks=(4, 20, 30))
    with pytest.raises(InputError, match=r"1 of them .* index \(7, 65, 41\)"):
        measure(image, "ZYX", 3)
    with pytest.raises(InputError, match=r"index \(7, 65, 41\)"):
        check_values(image, resolve_axes("ZYX", 2))


def test_bad_pixels_are_counted_and_the_opacity_is_checked_too() -> None:
    image = np.zeros((6, 8, 4), np.float32)
    image[2, 3:6, 3] = np.nan
    with pytest.raises(InputError, match=r"3 of them .* index \(2, 3, 3\)"):
        measure(image, "YXS")


def test_numbers_beyond_float32_are_refused() -> None:
    image = np.zeros((8, 8))
    image[1, 2] = 1e300
    with pytest.raises(InputError, match=r"index \(1, 2\)"):
        measure(image, "YX")


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64])
def test_integers_that_float32_cannot_hold_are_refused(dtype: Any) -> None:
    image = np.zeros((8, 8), dtype)
    image[1, 1] = 2**24 - 1
    measure(image, "YX")
    image[5, 6] = 2**24
    with pytest.raises(InputError, match="16777216"):
        measure(image, "YX")


def test_negative_integers_that_float32_cannot_hold_are_refused() -> None:
    with pytest.raises(InputError, match="9223372036854775808"):
        measure(np.full((8, 8), np.iinfo(np.int64).min), "YX")


def test_a_source_that_cannot_be_read_is_reported_with_the_place() -> None:
    def broken(block: np.ndarray) -> np.ndarray:
        raise RuntimeError("bad sector")

    image = da.zeros((8, 8), chunks=4).map_blocks(broken, dtype=float, meta=np.zeros((0, 0)))
    with pytest.raises(InputError, match=r"cannot be read at \[0:8, 0:8\]: bad sector"):
        measure(image, "YX")


# Range and noise


def test_levels_are_the_percentiles_of_a_small_image() -> None:
    image = grey(50, 60)
    measured = measure(image, "YX")
    low, high = np.percentile(image, (0.1, 99.9))
    assert measured.at(())[:2] == (low, high)
    assert measured.low.shape == ()


@pytest.mark.parametrize(
    ("per", "shape"), [("image", (1, 1)), ("channel", (1, 2)), ("frame", (3, 2))]
)
def test_levels_are_shared_as_asked_for(per: Any, shape: tuple[int, ...]) -> None:
    image = grey(3, 2, 20, 30) + 1000 * np.arange(6, dtype=np.float32).reshape(3, 2, 1, 1)
    measured = measure(image, "TCYX", per=per)
    assert measured.low.shape == shape
    groups = {"image": image, "channel": image[:, 1], "frame": image[2, 1]}
    assert_allclose(measured.at((2, 1))[:2], np.percentile(groups[per], (0.1, 99.9)))


def test_the_stack_of_a_2d_model_shares_one_measurement() -> None:
    assert measure(grey(5, 20, 30), "ZYX").low.shape == (1,)


def test_an_unknown_way_of_sharing_is_refused() -> None:
    with pytest.raises(InputError, match="'slice'"):
        measure(grey(8, 8), "YX", per="slice")


def test_opacity_changes_neither_range_nor_noise() -> None:
    colours = np.random.default_rng(0).integers(10, 90, (40, 50, 3)).astype(np.uint8)
    plain = measure(colours, "YXS")
    for opacity in (0, 255):
        alpha = np.full((40, 50, 1), opacity, np.uint8)
        assert measure(np.concatenate([colours, alpha], 2), "YXS").summary() == plain.summary()


@pytest.mark.parametrize("names", ["YX", "ZYX"])
@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_image_has_a_range_and_no_noise(names: str, value: int) -> None:
    low, high, noise = measure(np.full((20,) * len(names), value, np.uint16), names).at(
        (0,) * (len(names) - 2)
    )
    assert (low, high, noise) == (value, value + 1, 0)


@pytest.mark.parametrize("rows", [976 + 4, 500])
def test_noise_does_not_depend_on_how_an_image_is_cut(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_hrsr.intensity._SLAB", 976 * 70)
    noise = measure(grey(rows, 70), "YX").at(())[2]
    assert noise == pytest.approx(100, rel=0.1)


def test_every_column_of_a_big_image_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_hrsr.intensity._SAMPLE", 1000)
    ramp = np.broadcast_to(np.arange(200, dtype=np.float32), (400, 200))
    low, high, _ = measure(ramp, "YX").at(())
    assert low < 5
    assert high > 194


def test_sampling_is_deterministic_and_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_hrsr.intensity._SLAB", 64 * 300)
    monkeypatch.setattr("napari_hrsr.intensity._SAMPLE", 5000)
    image = np.random.default_rng(1).integers(0, 60000, (3000, 300)).astype(np.uint16)
    first, second = measure(image, "YX"), measure(image, "YX")
    assert first.summary() == second.summary()
    low, high = np.percentile(image, (0.1, 99.9))
    assert first.at(())[:2] == pytest.approx((low, high), abs=600)


def test_storage_does_not_change_what_is_measured(tmp_path: Path) -> None:
    image = np.random.default_rng(2).integers(0, 4000, (90, 100)).astype(np.uint16)
    memmap = np.memmap(tmp_path / "image.raw", np.uint16, "w+", shape=image.shape)
    memmap[:] = image
    expected = measure(image, "YX").summary()
    for other in (
        memmap,
        image.astype(">u2"),
        np.asfortranarray(image),
        da.from_array(image, chunks=33),
        zarr.array(image, chunks=(33, 40)),
    ):
        assert measure(other, "YX").summary() == expected


def test_progress_counts_to_its_total_and_cancelling_stops() -> None:
    image, calls = grey(4, 20, 30), []
    measure(image, "TYX", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 4) for i in range(1, 5)]
    with pytest.raises(CancelledError):
        measure(image, "TYX", cancelled=lambda: True)


def test_a_measurement_survives_being_written_down() -> None:
    measured = measure(grey(3, 20, 30), "CYX")
    again = intensity_from_summary(measured.summary())
    assert again.summary() == measured.summary()
    assert again.at((2,)) == measured.at((2,))
    assert measured.with_noise(3.5).at((1,)) == (*measured.at((1,))[:2], 3.5)


def test_blocks_come_in_native_byte_order() -> None:
    image = np.arange(12, dtype=">i4").reshape(3, 4)
    block = read_block(image, (slice(1, 3), slice(None)))
    assert block.dtype == np.dtype("=i4")
    assert_array_equal(block, image[1:3])


# Back to pixels

INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


@given(st.sampled_from(INTEGERS), st.lists(st.floats(width=32, allow_nan=False), min_size=1))
def test_casting_rounds_and_clips_and_never_wraps(dtype: Any, values: list[float]) -> None:
    limits = np.iinfo(dtype)
    cast = cast_values(np.array(values, np.float32), np.dtype(dtype))
    assert cast.dtype == dtype
    for value, result in zip(values, cast.tolist(), strict=True):
        wanted = value if np.isinf(value) else round(value)
        if limits.min <= wanted <= limits.max:
            assert result == wanted
        elif wanted < limits.min:
            assert result == limits.min
        else:
            # The largest 64-bit integers are no floating-point numbers.
            assert limits.max - 2048 <= result <= limits.max


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_casting_to_floating_point_stays_finite(dtype: Any) -> None:
    cast = cast_values(np.array([-3e38, -1.5, 3e38], np.float32), np.dtype(dtype))
    assert cast.dtype == dtype
    assert np.isfinite(cast).all()
    assert cast[1] == -1.5
