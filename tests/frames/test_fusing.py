"""Several frames, one finer image: what people see."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from napari.layers import Image
from scipy.ndimage import fourier_shift, gaussian_filter
from typer.testing import CliRunner

from napari_hrsr import fuse_frames
from napari_hrsr.cli import app
from napari_hrsr.errors import CancelledError, HrsrError, InputError
from napari_hrsr.files import read_image, write_image
from napari_hrsr.frames.tiles import AGREEMENT
from napari_hrsr.metadata import ImageMetadata
from napari_hrsr.regridding import resampling_matrix

SHIFTS = np.array(
    [
        [0, 0],
        [0.45, -0.3],
        [-0.6, 0.5],
        [0.25, 0.75],
        [-0.2, -0.55],
        [0.7, 0.1],
        [0.5, 0.5],
        [-0.4, 0.2],
    ]
)


def texture(*shape: int, seed: int = 0) -> np.ndarray:
    """A scene with edges and fine detail, its range about 0 to 1."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.6, mode="wrap")
    fine = gaussian_filter(np.random.default_rng(seed + 1).normal(size=shape), 0.9, mode="wrap")
    blobs = 0.6 * (noise > 0.1 * noise.std()) + 0.1 * fine / fine.std() + 0.2
    return gaussian_filter(blobs, 0.7, mode="wrap")


def record(
    truth: np.ndarray, shifts: np.ndarray, scale: int = 2, noise: float = 0.01, seed: int = 0
) -> np.ndarray:
    """Frames of a scene that goes on by wrapping around."""
    rng = np.random.default_rng(seed)
    frames = []
    for shift in shifts:
        moved = np.fft.ifftn(fourier_shift(np.fft.fftn(truth), shift * scale)).real
        cut = [m for n in truth.shape for m in (n // scale, scale)]
        coarse = moved.reshape(cut).mean(tuple(range(1, 2 * truth.ndim, 2)))
        frames.append(coarse + rng.normal(0, noise, coarse.shape))
    return np.stack(frames).astype(np.float32)


def cubic(frame: np.ndarray, scale: int = 2) -> np.ndarray:
    result = frame.astype(float)
    for axis, n in enumerate(frame.shape):
        matrix = resampling_matrix(n, n * scale, step=1 / scale, offset=(1 / scale - 1) / 2)
        result = np.moveaxis(np.tensordot(matrix, result, (1, axis)), 0, axis)
    return result


def psnr(image: np.ndarray, truth: np.ndarray, edge: int = 12) -> float:
    inner = (slice(edge, -edge),) * truth.ndim
    return float(-10 * np.log10(np.mean(np.square(image.astype(float) - truth)[inner])))


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return texture(128, 112)


@pytest.fixture(scope="module")
def frames(truth: np.ndarray) -> np.ndarray:
    return record(truth, SHIFTS)


@pytest.fixture(scope="module")
def fusion(frames: np.ndarray) -> Any:
    return fuse_frames(frames)


def test_fused_frames_show_more_than_one_and_than_their_mean(
    truth: np.ndarray, frames: np.ndarray, fusion: Any
) -> None:
    mean = fuse_frames(frames, shifts=SHIFTS, method="average").data
    fused = psnr(fusion.data, truth)
    assert fused > psnr(cubic(frames[0]), truth) + 4
    assert fused > psnr(mean, truth) + 2
    assert fusion.data.shape == truth.shape
    assert fusion.data.dtype == np.float32
    assert "finer detail than one of them" in fusion.message


def test_shifts_are_found_to_a_twentieth_of_a_pixel(fusion: Any) -> None:
    assert np.median(np.abs(fusion.shifts - SHIFTS)[1:]) < 0.02
    np.testing.assert_allclose(fusion.shifts, SHIFTS, atol=0.05)


def test_much_noise_never_makes_it_worse_than_the_mean(truth: np.ndarray) -> None:
    noisy = record(truth, SHIFTS, noise=0.05)
    fusion = fuse_frames(noisy)
    mean = fuse_frames(noisy, shifts=fusion.shifts, method="average").data
    assert psnr(fusion.data, truth) > psnr(mean, truth)


def test_frames_of_another_scene_are_named_and_left_out(
    truth: np.ndarray, frames: np.ndarray
) -> None:
    mixed = frames.copy()
    mixed[[2, 5]] = record(texture(128, 112, seed=7), SHIFTS)[[2, 5]]
    found = fuse_frames(mixed)
    assert sorted(found.left_out) == [2, 5]
    assert "frame 2 does not show the same scene" in found.message
    assert np.isnan(found.shifts[[2, 5]]).all()
    # Nothing is lost but what the two would have shown.
    others = fuse_frames(np.delete(frames, [2, 5], 0))
    assert psnr(found.data, truth) > psnr(others.data, truth) - 0.2


def test_a_first_frame_that_fits_nothing_is_not_the_reference(frames: np.ndarray) -> None:
    mixed = frames.copy()
    mixed[0] = record(texture(128, 112, seed=7), SHIFTS)[0]
    found = fuse_frames(mixed, method="average")
    assert list(found.left_out) == [0]
    assert found.reference != 0
    assert f"lies on frame {found.reference}" in found.message


def test_copies_of_a_frame_are_not_sharpened(truth: np.ndarray, frames: np.ndarray) -> None:
    found = fuse_frames(np.stack([frames[0]] * 8))
    assert "same places" in found.message
    assert "no finer detail" in found.message
    # At the border splines may end in several ways.
    inner = (slice(12, -12), slice(12, -12))
    np.testing.assert_allclose(found.data[inner], cubic(frames[0])[inner], atol=1e-3)
    assert psnr(found.data, truth, 1) > psnr(cubic(frames[0]), truth, 1) - 0.05
    assert found.phases.fractions.shape == (8, 2)
    assert found.phases.adds == (False, False)


def test_frames_at_the_same_place_have_less_noise_and_no_more_detail(truth: np.ndarray) -> None:
    # Whole pixels apart is the same place.
    still = record(truth, np.array([[0, 0], [2, 1], [-1, 0], [0, 0], [1, 1], [0, 3]]), noise=0.03)
    found = fuse_frames(still)
    assert found.record["method"] == "average"
    assert psnr(found.data, truth) > psnr(cubic(still[0]), truth) + 0.5


def test_what_moves_is_shown_where_the_reference_has_it(
    truth: np.ndarray, frames: np.ndarray
) -> None:
    moving, expected = frames.copy(), truth.copy()
    for k, frame in enumerate(moving):
        frame[20:30, 6 + 5 * k : 14 + 5 * k] += 0.8
    expected[40:60, 12:28] += 0.8
    found = fuse_frames(moving)
    kept = fuse_frames(moving, motion=False)
    assert psnr(found.data, expected) > psnr(kept.data, expected) + 2
    assert found.moving.shape == frames.shape[1:]
    assert found.moving[21:29, 7:13].min() == 1
    assert found.moving[40:60].max() == 0
    assert "moved or changed" in found.message


def test_frames_that_bleach_are_evened_out(truth: np.ndarray, frames: np.ndarray) -> None:
    fading = frames * np.linspace(1, 0.6, 8, dtype=np.float32)[:, None, None]
    assert psnr(fuse_frames(fading).data, truth) > psnr(cubic(frames[0]), truth) + 4


def test_drift_by_many_pixels_is_found() -> None:
    big = texture(240, 240)
    shifts = np.array([[0.0, 0.0], [7.3, -4.6], [14.6, -9.2], [-11.4, 5.7]])
    drifting = record(big, shifts)[:, 16:104, 16:104]
    found = fuse_frames(drifting)
    assert not found.left_out
    np.testing.assert_allclose(found.shifts, shifts, atol=0.05)


def test_given_shifts_are_used_as_they_are(frames: np.ndarray) -> None:
    given = SHIFTS + 0.0625
    found = fuse_frames(frames, shifts=given, strength=3.0)
    # They are stated against the reference, wherever its own is.
    np.testing.assert_allclose(found.shifts, given - given[0], atol=1e-9)


@pytest.mark.parametrize(
    ("method", "loss"), [("average", 0.0), ("shift-and-add", 4.0), ("drizzle", 1.0)]
)
def test_simple_ways_keep_the_place_of_things(
    truth: np.ndarray, frames: np.ndarray, method: str, loss: float
) -> None:
    simple = fuse_frames(frames, shifts=SHIFTS, method=method).data
    assert psnr(simple, truth) > psnr(cubic(frames[0]), truth) - loss
    lag = np.fft.ifft2(np.fft.fft2(simple) * np.conj(np.fft.fft2(truth))).real
    assert np.unravel_index(int(np.argmax(lag)), lag.shape) == (0, 0)


def test_turned_frames_are_laid_straight(truth: np.ndarray) -> None:
    from scipy.ndimage import map_coordinates

    rng = np.random.default_rng(0)
    angles = np.deg2rad([0, 1.5, -1.0, 0.8])
    grid = np.stack(np.meshgrid(*map(np.arange, truth.shape), indexing="ij"), -1)
    centre = (np.array(truth.shape) - 1) / 2
    turned = []
    for angle, shift in zip(angles, SHIFTS, strict=False):
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        at = np.moveaxis((grid - centre - 2 * shift) @ matrix + centre, -1, 0)
        seen = map_coordinates(truth, at, order=5, mode="wrap").reshape(64, 2, 56, 2).mean((1, 3))
        turned.append(seen + rng.normal(0, 0.01, seen.shape))
    stack = np.stack(turned).astype(np.float32)
    rigid = fuse_frames(stack, transform="rigid", strength=2.0)
    found = [np.arctan2(m[1][0], m[0][0]) for m in rigid.record["matrices"]]
    np.testing.assert_allclose(found, angles, atol=np.deg2rad(0.05))
    assert psnr(rigid.data, truth) > psnr(cubic(stack[0]), truth) + 2


def test_tiles_agree_with_the_whole(frames: np.ndarray) -> None:
    options: dict[str, Any] = {"shifts": SHIFTS, "strength": 2.0}
    whole = fuse_frames(frames, **options).data
    tiled = fuse_frames(frames, tile=24, **options).data
    apart = np.abs(tiled - whole)
    assert np.sqrt(np.mean(apart**2)) < AGREEMENT[0]
    assert apart.max() < AGREEMENT[1]


def test_volumes_from_zarr_into_zarr_in_tiles(tmp_path: Path) -> None:
    volume = texture(40, 48, 48)
    shifts = np.array([[0, 0, 0], [0.5, 0.25, -0.4], [-0.3, 0.5, 0.5], [0.2, -0.5, 0.1]])
    source = zarr.create_array(
        tmp_path / "in.zarr", shape=(4, 20, 24, 24), chunks=(1, 10, 12, 12), dtype="uint16"
    )
    source[...] = (20000 + 20000 * record(volume, shifts, noise=0.01)).astype(np.uint16)
    found = fuse_frames(
        source, shifts=shifts, tile=(10, 12, 24), strength=3.0, out=tmp_path / "out.ome.zarr"
    )
    assert found.data.shape == (40, 48, 48)
    assert found.data.dtype == np.uint16
    fused = (np.asarray(found.data[...]).astype(float) - 20000) / 20000
    one = (cubic(np.asarray(source[0])) - 20000) / 20000
    assert psnr(fused, volume, 8) > psnr(one, volume, 8) + 2


def test_anisotropic_scale_keeps_an_axis(tmp_path: Path) -> None:
    still = np.random.default_rng(0).normal(100, 5, (2, 8, 16, 16))
    shifts = [[0, 0, 0], [0, 0.5, 0.5]]
    assert fuse_frames(still, (1, 2, 2), shifts=shifts, strength=9).data.shape == (8, 32, 32)


def test_integers_are_rounded_and_clipped(frames: np.ndarray) -> None:
    bright = np.clip(np.rint(frames * 320), 0, 255).astype(np.uint8)
    found = fuse_frames(bright, shifts=SHIFTS, strength=1.0)
    assert found.data.dtype == np.uint8
    # Wrapped values would be dark in bright places.
    assert found.data[cubic(bright[0]) > 250].min() > 150
    assert fuse_frames(bright, method="average", dtype="float32").data.dtype == np.float32


def test_channels_share_their_motions(frames: np.ndarray, truth: np.ndarray) -> None:
    two = np.stack([frames, 3 * frames + 7], 1)
    found = fuse_frames(two, axes="TCYX", strength=2.0)
    assert found.data.shape == (2, *truth.shape)
    np.testing.assert_allclose(found.data[1], 3 * found.data[0] + 7, atol=0.02)


def test_a_layer_of_frames(frames: np.ndarray) -> None:
    layer = Image(frames, scale=(1, 0.5, 0.5), name="burst")
    found = fuse_frames(layer, method="average")
    assert found.data.shape == (128, 112)


def test_layers_lie_where_the_world_says(frames: np.ndarray) -> None:
    # What frame k shows at x + shift lies at x: its layer is moved back by the shift.
    layers = [
        Image(f, scale=(0.5, 0.5), translate=-0.5 * s, name=f"scan {k}")
        for k, (f, s) in enumerate(zip(frames, SHIFTS, strict=True))
    ]
    found = fuse_frames(layers, strength=2.0)
    np.testing.assert_allclose(found.shifts, SHIFTS, atol=1e-9)
    apart = fuse_frames([Image(f) for f in frames], method="average")
    np.testing.assert_allclose(apart.shifts, SHIFTS, atol=0.05)


def test_the_result_says_how_it_was_made(fusion: Any) -> None:
    made = fusion.record
    assert made["operation"] == "fuse"
    assert made["kept"] == list(range(8))
    assert made["strength"] in [s for s, _ in made["held_out"]["tried"]]
    assert len(made["shifts"]) == 8


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": 1}, "whole number from 2"),
        ({"scale": 2.5}, "whole number from 2"),
        ({"scale": (2, 2, 2)}, "one for each of the 2"),
        ({"method": "magic"}, "method is one of"),
        ({"transform": "bent"}, "transform is one of"),
        ({"reference": 8}, "0 to 7"),
        ({"shifts": np.zeros((7, 2))}, "8 rows"),
        ({"psf": -1.0}, "psf is one width"),
        ({"noise": -0.1}, "noise is a number"),
        ({"strength": 0}, "strength is a number"),
        ({"dtype": "bool"}, "cannot have type"),
        ({"axes": "ZYX"}, "name that axis T"),
        ({"out": np.zeros((3, 3))}, "the result needs"),
        ({"device": "toaster"}, "device"),
    ],
)
def test_what_makes_no_sense_is_refused_before_work(
    frames: np.ndarray, change: dict[str, Any], words: str
) -> None:
    class Unread:
        """Frames that must not be read."""

        shape, dtype, ndim = frames.shape, frames.dtype, 3

        def __getitem__(self, key: Any) -> np.ndarray:
            raise AssertionError("read before the options were checked")

    with pytest.raises(HrsrError, match=words):
        fuse_frames(Unread(), **change)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros((1, 40, 40)), "two or more"),
        (np.zeros((4, 40, 9)), "at least 16"),
        (np.zeros((4, 5, 40, 40)), "name it Q"),
        (np.zeros((2, 2, 4, 40, 40)), "need their names"),
        ([np.zeros((40, 40)), np.zeros((40, 41))], "one shape"),
        ([], "no frames"),
        (np.zeros((3, 40, 40), complex), "complex"),
    ],
)
def test_what_are_no_frames_is_refused(bad: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fuse_frames(bad)


def test_a_value_that_is_no_number_is_found(frames: np.ndarray) -> None:
    broken = frames.copy()
    broken[3, 20, 20] = np.nan
    with pytest.raises(InputError, match="NaN"):
        fuse_frames(broken)


def test_scenes_with_nothing_in_common_are_refused() -> None:
    apart = np.stack([record(texture(96, 96, seed=9 * k), SHIFTS[:1])[0] for k in range(3)])
    with pytest.raises(InputError, match="no frame fits"):
        fuse_frames(apart)


def test_flat_frames_stay_flat() -> None:
    found = fuse_frames(np.full((4, 32, 32), 7, np.uint16))
    np.testing.assert_array_equal(found.data, 7)


@pytest.mark.parametrize("what", ["Registering", "Choosing", "Fusing"])
def test_cancel_stops_and_leaves_nothing(frames: np.ndarray, tmp_path: Path, what: str) -> None:
    stop = threading.Event()

    def follow(now: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        if now == what:
            stop.set()

    with pytest.raises(CancelledError):
        fuse_frames(frames, out=tmp_path / "out.ome.zarr", progress=follow, cancelled=stop, tile=32)
    assert list(tmp_path.iterdir()) == []


def test_command_line(frames: np.ndarray, tmp_path: Path) -> None:
    source, target = tmp_path / "in.ome.tif", tmp_path / "out.ome.tif"
    counts = np.clip(1000 + 5000 * frames, 0, None).astype(np.uint16)
    units = ("second", "micrometer", "micrometer")
    write_image(source, counts, ImageMetadata("TYX", (1.0, 0.5, 0.5), (0.0, 10.0, 20.0), units))
    run = CliRunner().invoke(
        app, ["fuse", str(source), str(target), "--map", str(tmp_path / "map.ome.tif")]
    )
    assert run.exit_code == 0, run.output
    result = read_image(target)
    assert result.data.shape == (128, 112)
    assert result.data.dtype == np.uint16
    assert result.metadata.axes == "YX"
    assert result.metadata.scale == (0.25, 0.25)
    # The first outer edges coincide: the first centre moves by a quarter of a pixel.
    assert result.metadata.translate == pytest.approx((9.875, 19.875))
    assert result.record is not None
    assert result.record["operation"] == "fuse"
    assert read_image(tmp_path / "map.ome.tif").data.shape == (64, 56)


def test_command_line_takes_a_file_a_frame_and_shifts(frames: np.ndarray, tmp_path: Path) -> None:
    sources = []
    for k, frame in enumerate(frames[:4]):
        sources.append(str(tmp_path / f"{k}.tif"))
        write_image(sources[-1], frame, ImageMetadata("YX", (1, 1), (0, 0), ("pixel",) * 2))
    (tmp_path / "shifts.txt").write_text("\n".join(f"{y}, {x}" for y, x in SHIFTS[:4]))
    target = tmp_path / "out.ome.tif"
    shifts = ["--shifts", str(tmp_path / "shifts.txt"), "--strength", "2"]
    run = CliRunner().invoke(app, ["fuse", *sources, str(target), *shifts])
    assert run.exit_code == 0, run.output
    record = read_image(target).record
    assert record is not None
    np.testing.assert_allclose(record["shifts"], SHIFTS[:4], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--method", "magic"], "method is one of"), (["--axes", "ZYX"], "none of the axes")],
)
def test_command_line_says_what_is_wrong_and_leaves_no_file(
    frames: np.ndarray, tmp_path: Path, options: list[str], words: str
) -> None:
    source, target = tmp_path / "in.tif", tmp_path / "out.ome.tif"
    write_image(source, frames, ImageMetadata("TYX", (1, 1, 1), (0, 0, 0), ("pixel",) * 3))
    run = CliRunner().invoke(app, ["fuse", str(source), str(target), *options])
    assert run.exit_code == 1
    assert words in run.output
    assert not target.exists()
