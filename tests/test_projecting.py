"""Results that are held to their source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import ShuffleNet
from scipy.ndimage import gaussian_filter
from skimage import data
from typer.testing import CliRunner

from napari_hrsr import upscale, upscale_layer
from napari_hrsr.cli import app
from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.evaluation import make_consistent
from napari_hrsr.files import read_image, write_image
from napari_hrsr.forward import (
    ForwardModel,
    Instrument,
    PointSpread,
    check_instrument,
    describe_instrument,
    gram_of,
)
from napari_hrsr.intensity import Intensity, measure_intensity
from napari_hrsr.jobs import Job, plan_job, start_job
from napari_hrsr.layers import RECORD_KEY
from napari_hrsr.metadata import plain_metadata
from napari_hrsr.projecting import (
    Projections,
    read_projections,
)
from napari_hrsr.projection_weight import settle_projection, spread_evenly

CAMERA = data.camera()[60:190, 150:300]

TURNED = PointSpread(np.array([[0.1, 0.6, 0.0], [0.0, 1.0, 0.3], [0.2, 0.0, 0.1]]))
INSTRUMENTS = {
    "area": ForwardModel((2, 2)),
    "blur": ForwardModel((2, 2), psf_sigma=(0.8, 0.9)),
    "bicubic": ForwardModel((2, 2), sampling="bicubic"),
    "measured": ForwardModel((2, 2), point_spread=TURNED),
}


def applied(forward: ForwardModel, image: Any) -> np.ndarray:
    return forward.apply(torch.from_numpy(np.asarray(image, np.float64))).numpy()


def texture(*shape: int, seed: int = 0) -> np.ndarray:
    """Structure of the size of a few pixels, from 0 to 200."""
    smooth = gaussian_filter(np.random.default_rng(seed).random(shape), 1.2)
    return 200 * (smooth - smooth.min()) / np.ptp(smooth)


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    span = np.ptp(truth)
    return float(10 * np.log10(span**2 / np.square(image - truth).mean()))


def held(image: np.ndarray, model: Any, **options: Any) -> np.ndarray:
    return upscale(image, model, device="cpu", **options)


@pytest.mark.parametrize("forward", INSTRUMENTS.values(), ids=INSTRUMENTS)
@pytest.mark.parametrize("tile", [7, 23, (40, 16)])
def test_tiles_equal_the_projection_of_the_whole_result(forward: ForwardModel, tile: Any) -> None:
    source = applied(forward, texture(130, 98)).astype(np.float32)
    network = ShuffleNet((2, 2))
    plain = held(source, network)
    whole = make_consistent(plain, source, forward).data
    assert np.abs(whole - plain).max() > 1
    tiled = held(source, network, consistent=forward, noise=0, tile=tile)
    assert np.abs(tiled - whole).max() < 1e-5 * np.abs(whole).max()


@pytest.mark.parametrize(
    "forward",
    [
        ForwardModel((2, 2, 2)),
        ForwardModel((2, 1, 2), psf_sigma=(0.7, 0.3, 0.6)),
        ForwardModel((3, 1, 1), slice_axis=0, slice_fwhm=3.0),
    ],
    ids=["area", "blur", "slices"],
)
def test_tiles_of_volumes_equal_the_whole(forward: ForwardModel) -> None:
    shape = tuple(k * n for k, n in zip(forward.factor, (21, 19, 23), strict=True))
    source = applied(forward, texture(*shape)).astype(np.float32)
    network = ShuffleNet(forward.factor)
    whole = make_consistent(held(source, network), source, forward).data
    tiled = held(source, network, consistent=forward, noise=0, tile=(8, 10, 9))
    assert np.abs(tiled - whole).max() < 1e-5 * np.abs(whole).max()


@settings(max_examples=10)
@given(
    shape=st.tuples(st.integers(2, 24), st.integers(1, 24)),
    tile=st.integers(4, 25),
    factor=st.tuples(st.integers(1, 4), st.integers(2, 3)),
    sigma=st.floats(0, 0.45),
    seed=st.integers(0, 1000),
)
def test_no_shape_or_tile_makes_a_difference(
    shape: tuple[int, int], tile: int, factor: tuple[int, int], sigma: float, seed: int
) -> None:
    forward = ForwardModel(factor, psf_sigma=tuple(sigma * k for k in factor))
    rng = np.random.default_rng(seed)
    truth = 100 * rng.random([k * n for k, n in zip(factor, shape, strict=True)])
    source = applied(forward, truth).astype(np.float32)
    model = f"cubic-{factor[0]}x{factor[1]}"
    whole = make_consistent(held(source, model), source, forward).data
    tiled = held(source, model, consistent=forward, noise=0, tile=tile)
    assert np.abs(tiled - whole).max() < 1e-5 * np.abs(whole).max()
    assert np.square(tiled - truth).mean() <= np.square(held(source, model) - truth).mean() + 1e-6


@pytest.mark.parametrize("model", ["general-2d-x2", "general-2d-x4", "cubic-2x2"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_clean_image_is_reproduced_to_rounding(model: str, dtype: Any) -> None:
    factor = (4, 4) if model.endswith("x4") else (2, 2)
    forward = ForwardModel(factor)
    # Contrast beyond both ends of what 8 bits hold, so that values are clipped.
    truth = np.clip(1.8 * (CAMERA[:128, :148].astype(float) - 60), 0, 255)
    source = applied(forward, truth)
    source = (np.rint(source) if np.dtype(dtype).kind == "u" else source).astype(dtype)
    plain = held(source, model, noise=0)
    result = held(source, model, noise=0, consistent=True)
    assert result.dtype == dtype
    left = np.abs(applied(forward, result) - source).max()
    assert left <= (0.5 if np.dtype(dtype).kind == "u" else 1e-6 * 255)
    assert np.abs(applied(forward, plain) - source).max() > 2
    assert psnr(result, truth) > psnr(plain, truth)


def test_a_constant_image_stays_constant() -> None:
    assert (held(np.full((20, 24), 117, np.uint8), "general-2d-x2", consistent=True) == 117).all()


def test_opacity_and_every_colour_of_every_frame() -> None:
    frames = np.stack([CAMERA[:40, :44], CAMERA[40:80, 40:84]])
    source = np.stack([frames, 255 - frames, frames // 2, np.full_like(frames, 200)], -1)
    result = held(source, "cubic-2x2", axes="TYXS", noise=0, consistent=True, tile=16)
    means = result.reshape(2, 40, 2, 44, 2, 4).mean((2, 4))
    assert np.abs(means - source).max() <= 0.5
    plain = held(source, "cubic-2x2", axes="TYXS")
    assert np.array_equal(result[..., 3], plain[..., 3])


def test_a_part_equals_that_part_of_the_whole() -> None:
    source = texture(90, 84)
    source = source + np.random.default_rng(0).normal(0, 0.5, source.shape)
    options = {"consistent": INSTRUMENTS["blur"], "tile": 30}
    whole = held(source, "cubic-2x2", **options)
    part = held(source, "cubic-2x2", region=[(20, 61), (33, 84)], **options)
    assert np.abs(part - whole[40:122, 66:168]).max() < 1e-4


@pytest.mark.parametrize("name", ["general-2d-x2", "general-2d-x4", "general-3d-x2"])
@pytest.mark.parametrize("noise", [0.0, "auto"])
def test_real_images_never_get_worse(data_folder: Path, name: str, noise: Any) -> None:
    files = {
        2: ("2d/dlegland__leaf_crop.tif", "2d/neubias__xy_16bit__microtubules.tif"),
        3: ("3d/datalad_t1_crop.ome.tif", "3d/flyem_medulla_s1_z128.ome.tif"),
    }
    ndim = 3 if "3d" in name else 2
    side = 40 if ndim == 3 else 160
    forward = ForwardModel((4 if name.endswith("x4") else 2,) * ndim)
    for file in files[ndim]:
        image = read_image(data_folder / file).data
        middle = tuple(slice((n - side) // 2, (n - side) // 2 + side) for n in image.shape)
        truth = np.asarray(image[middle], float)
        source = applied(forward, truth).astype(np.float32)
        plain = held(source, name, noise=noise)
        result = held(source, name, noise=noise, consistent=True)
        assert psnr(result, truth) >= psnr(plain, truth)


@pytest.mark.parametrize("percent", [1, 3])
@pytest.mark.parametrize("model", ["general-2d-x2", "smooth"])
@pytest.mark.parametrize(
    "forward", [INSTRUMENTS["area"], INSTRUMENTS["blur"]], ids=["area", "blur"]
)
def test_of_a_noisy_image_what_rises_above_the_noise_is_put_right(
    percent: int, model: str, forward: ForwardModel
) -> None:
    truth = CAMERA.astype(float)
    noise = percent * 2.55
    source = applied(forward, truth)
    source = (source + np.random.default_rng(0).normal(0, noise, source.shape)).astype(np.float32)
    # A network that loses detail leaves more than the noise; a good one may not.
    network: Any = Smooth() if model == "smooth" else model
    job, result = run_job(source, network, consistent=forward, noise=noise)
    plain = held(source, network, noise=noise)
    assert isinstance(job.regrid, Projections)
    chi_square = np.square(applied(forward, result) - source).mean() / noise**2
    if np.isinf(job.regrid.weight):
        assert model != "smooth"
        assert np.array_equal(result, plain)
        assert chi_square < 1.2
    else:
        assert 0.8 <= chi_square <= 1.2
        assert job.regrid.before > 1.05
    assert psnr(result, truth) > psnr(plain, truth) - 0.05


class Smooth:
    """Cubic interpolation of an image that was blurred."""

    def __init__(self) -> None:
        self.network = ShuffleNet((2, 2), halo=(8, 8))
        self.spec = self.network.spec

    def __call__(self, batch: torch.Tensor, *, noise: Any = None) -> torch.Tensor:
        soft = torch.from_numpy(gaussian_filter(batch.numpy(), (0, 0, 1.5, 1.5), truncate=3))
        return torch.nn.functional.interpolate(soft, scale_factor=2, mode="bicubic")


def run_job(source: np.ndarray, model: Any, *, noise: float, **options: Any) -> tuple[Job, Any]:
    job = plan_job(source, model, device="cpu", **options)
    intensity = measure_intensity(source, job.axes).with_noise(noise)
    job = settle_projection(job, intensity)
    out = np.zeros(job.shape, job.dtype)
    for _ in start_job(job, out, intensity):
        pass
    return job, out


def test_each_channel_has_the_weight_of_its_own_noise() -> None:
    clean = applied(INSTRUMENTS["area"], CAMERA)
    noisy = clean + np.random.default_rng(0).normal(0, 6, clean.shape)
    source = np.stack([clean, noisy]).astype(np.float32)
    job = plan_job(source, Smooth(), axes="CYX", device="cpu", consistent=True)
    measured = measure_intensity(source, job.axes)
    intensity = Intensity(measured.low, measured.high, np.array([0.0, 6.0]))
    settled = settle_projection(job, intensity)
    assert isinstance(settled.regrid, Projections)
    assert settled.regrid.weight[0] == 0
    assert 0 < settled.regrid.weight[1] < np.inf
    out = np.zeros(job.shape, np.float32)
    for _ in start_job(settled, out, intensity):
        pass
    assert np.abs(applied(INSTRUMENTS["area"], out[0]) - clean).max() < 1e-3
    assert np.square(applied(INSTRUMENTS["area"], out[1]) - noisy).mean() == pytest.approx(
        36, rel=0.2
    )


def test_the_weight_does_not_depend_on_tile_or_region() -> None:
    source = texture(120, 124) + np.random.default_rng(0).normal(0, 1, (120, 124))
    found = set()
    for options in ({"tile": 16}, {"tile": 90}, {"region": [(3, 40), None]}):
        job, _ = run_job(source, Smooth(), noise=1.0, consistent=True, **options)
        assert isinstance(job.regrid, Projections)
        found.add(float(job.regrid.weight))
    assert len(found) == 1


def test_measuring_can_be_cancelled() -> None:
    job = plan_job(CAMERA, "cubic-2x2", device="cpu", consistent=True)
    intensity = measure_intensity(CAMERA, job.axes).with_noise(5.0)
    with pytest.raises(CancelledError):
        settle_projection(job, intensity, cancelled=lambda: True)


def test_a_tile_can_be_cancelled_while_it_is_held_to_its_source() -> None:
    asked = iter(range(100))
    job = plan_job(CAMERA, "cubic-2x2", device="cpu", consistent=INSTRUMENTS["blur"])
    intensity = measure_intensity(CAMERA, job.axes).with_noise(0)
    job = settle_projection(job, intensity, cancelled=lambda: next(asked) >= 2)
    out = np.zeros(job.shape, job.dtype)
    assert list(start_job(job, out, intensity)) == []
    assert next(asked) == 3


def test_a_job_that_was_not_settled_does_not_start() -> None:
    job = plan_job(CAMERA, "cubic-2x2", device="cpu", consistent=True)
    with pytest.raises(ValueError, match="settled"):
        start_job(job, np.zeros(job.shape), measure_intensity(CAMERA, job.axes))


def test_a_layer_says_how_it_was_held() -> None:
    from napari.layers import Image

    attributes = upscale_layer(Image(CAMERA), "cubic-2x2", consistent=True, noise=0)[1]
    record = attributes["metadata"][RECORD_KEY]["consistent"]
    assert record["factor"] == [2, 2]
    assert record["weight"] == 0
    json.dumps(record, allow_nan=False)


@pytest.mark.parametrize("forward", INSTRUMENTS.values(), ids=INSTRUMENTS)
def test_what_was_written_is_read_again(forward: ForwardModel) -> None:
    weight, before = np.array([[0.0], [np.inf], [0.3]]), np.array([[np.nan], [0.9], [4.0]])
    text = json.dumps(Projections(forward, weight, before, (0, 0)).summary(), allow_nan=False)
    back = read_projections(json.loads(text))
    assert back.forward == forward
    assert np.array_equal(back.weight, weight)
    assert np.array_equal(back.before, before, equal_nan=True)


def command(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_image(tmp_path / "camera.ome.tif", CAMERA, plain_metadata("YX"))
    return tmp_path / "camera.ome.tif"


def test_the_command_line_holds_a_result_to_its_file(tmp_path: Path, file: Path) -> None:
    done = command("upscale", file, tmp_path / "a.tif", "--consistent", "--noise", 0)
    assert done.exit_code == 0, done.output
    result = read_image(tmp_path / "a.tif").data
    assert np.abs(applied(INSTRUMENTS["area"], result) - CAMERA).max() <= 0.5


@pytest.mark.parametrize(
    "options", [(), ("--psf-sigma", "0.4,0.3", "--noise", 2), ("--sampling", "bicubic")]
)
def test_a_recipe_repeats_it_bit_for_bit(tmp_path: Path, file: Path, options: Any) -> None:
    first, second = tmp_path / "a.ome.zarr", tmp_path / "b.tif"
    done = command("upscale", file, first, "--consistent", "--tile", 32, *options)
    assert done.exit_code == 0, done.output
    done = command("upscale", file, second, "--recipe", first)
    assert done.exit_code == 0, done.output
    one, two = read_image(first), read_image(second)
    assert np.asarray(one.data).tobytes() == np.asarray(two.data).tobytes()
    assert one.record == two.record
    if "--psf-sigma" in options:
        assert one.record["consistent"]["psf_sigma"] == [0.8, 0.6]


def test_a_recipe_with_another_noise_is_measured_again(tmp_path: Path, file: Path) -> None:
    first, second = tmp_path / "a.tif", tmp_path / "b.tif"
    command("upscale", file, first, "--consistent", "--noise", 2, "--model", "cubic-2x2")
    done = command("upscale", file, second, "--recipe", first, "--noise", 0)
    assert done.exit_code == 0, done.output
    assert read_image(second).record["consistent"]["weight"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--psf-sigma", "0.4"), "give it too"),
        (("--consistent", "--psf-sigma", "0.4,0.4,0.4"), "one per axis"),
        (("--consistent", "--psf-sigma", "-1"), "from 0 up"),
        (("--consistent", "--psf-sigma", "2", "--noise", 0), "narrower"),
        (("--consistent", "--sampling", "k-space"), "k-space"),
    ],
)
def test_the_command_line_refuses_what_does_not_fit(
    tmp_path: Path, file: Path, options: Any, message: str
) -> None:
    done = command("upscale", file, tmp_path / "a.tif", *options)
    assert done.exit_code != 0
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "a.tif").exists()


@pytest.mark.parametrize(
    ("wanted", "factor", "message"),
    [
        (ForwardModel((3, 3)), (2, 2), "has the factor"),
        (ForwardModel((2, 2, 2)), (2, 2), "has the factor"),
        (ForwardModel((2, 2), sampling="k-space"), (2, 2), "make_consistent"),
        (Instrument((0.5,) * 3), (2, 2), "one per axis"),
        (Instrument((99.0,)), (2, 2), "0 to 8"),
        (Instrument((float("nan"),)), (2, 2), "0 to 8"),
        ("yes", (2, 2), "'yes'"),
        (True, (1, 1), "through a blur"),
    ],
)
def test_instruments_that_do_not_fit(wanted: Any, factor: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_instrument(wanted, factor)


def test_a_blur_that_erases_detail_is_refused_unless_there_is_noise() -> None:
    forward = ForwardModel((2, 2), psf_sigma=(2.4, 2.4))
    source = applied(forward, CAMERA)
    with pytest.raises(InputError, match="narrower"):
        held(source, "cubic-2x2", consistent=forward, noise=0)
    source += np.random.default_rng(0).normal(0, 5, source.shape)
    held(source, Smooth(), consistent=forward, noise=5)


@pytest.mark.parametrize("forward", INSTRUMENTS.values(), ids=INSTRUMENTS)
def test_the_stencil_is_what_the_operator_does(forward: ForwardModel) -> None:
    image = np.zeros((61, 61))
    image[30, 30] = 1
    made = applied(forward, forward.adjoint(torch.from_numpy(image)).numpy())
    stencil = gram_of(forward).stencil
    around = tuple(slice(30 - n // 2, 31 + n // 2) for n in stencil.shape)
    np.testing.assert_allclose(made[around], stencil, atol=1e-12)
    made[around] = 0
    assert np.abs(made).max() < 1e-12


def test_an_instrument_is_described_in_plain_values() -> None:
    described = describe_instrument(Instrument((0.4,)).forward((2, 4)))
    assert described == {"factor": [2, 4], "psf_sigma": [0.8, 1.6], "sampling": "area"}


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 12))
def test_places_are_spread_without_repeats(counts: list[int], most: int) -> None:
    places = spread_evenly(counts, most)
    assert len(set(places)) == len(places) == min(most, int(np.prod(counts)))
    assert all(0 <= p < n for place in places for p, n in zip(place, counts, strict=True))
