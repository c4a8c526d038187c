"""A measured point spread function is read as it is meant, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from scipy.ndimage import convolve, gaussian_filter
from skimage import data
from typer.testing import CliRunner

from napari_hrsr import load_model, train, upscale
from napari_hrsr.cli import app
from napari_hrsr.errors import InputError
from napari_hrsr.forward import PointSpread
from napari_hrsr.models.catalog import find_spec
from napari_hrsr.training.config import DataSettings, ModelSettings, TrainingConfig
from napari_hrsr.training.config_file import read_config, write_config
from napari_hrsr.training.degrade import Degradations
from napari_hrsr.training.fit import run_training
from napari_hrsr.training.measured_point_spread import (
    digest_of,
    even_axes,
    read_point_spread,
    widths_of,
)
from napari_hrsr.training.patches import draw_batch, make_pair
from napari_hrsr.training.point_spread_choice import (
    allowed_turns,
    with_point_spread,
    with_point_spread_digest,
)


def beads(places, sigma, shape, noise=0.0, background=100.0):
    """Image of points, each the centre of a Gaussian."""
    grid = np.indices(shape)
    image = np.full(shape, background)
    for place in places:
        away = [(g - p) / s for g, p, s in zip(grid, place, sigma, strict=True)]
        image += 1000 * np.exp(-0.5 * sum(a**2 for a in away))
    return (image + np.random.default_rng(0).normal(0, noise, shape)).astype(np.float32)


def saved(path: Path, image: np.ndarray) -> Path:
    tifffile.imwrite(path, image, metadata={"axes": "ZYX"[-image.ndim :]})
    return path


@pytest.mark.parametrize(
    ("places", "noise"),
    [
        ([(12, 12)], 0),
        ([(11.6, 14.3)], 10),
        ([(12.3, 12.4), (12.7, 44.1), (40.2, 14.5), (44, 43)], 10),
    ],
    ids=["one", "off centre, with noise", "several"],
)
def test_beads_become_a_centred_kernel_of_their_width(tmp_path, places, noise):
    shape = (25, 27) if len(places) == 1 else (56, 57)
    spread = read_point_spread(
        saved(tmp_path / "beads.tif", beads(places, (1.2, 2.0), shape, noise)), 2
    )
    assert spread.kernel.sum() == pytest.approx(1)
    assert spread.kernel.min() >= 0
    assert widths_of(spread) == pytest.approx((1.2, 2.0), rel=0.08)
    for axis, side in enumerate(spread.kernel.shape):
        along = spread.kernel.sum(1 - axis)
        assert along @ np.arange(side) == pytest.approx(side // 2, abs=0.1)
        assert side < 18


def test_volumes_are_read_from_nifti_too(tmp_path):
    image = beads([(9, 10, 11)], (2.5, 1.0, 1.0), (19, 21, 22), 5)
    nibabel.save(nibabel.Nifti1Image(image.T.copy(), np.eye(4)), tmp_path / "bead.nii")
    spread = read_point_spread(tmp_path / "bead.nii", 3)
    assert widths_of(spread) == pytest.approx((2.5, 1.0, 1.0), rel=0.08)


WRONG = {
    "flat": (np.full((21, 21), 7.0), "no point stands out"),
    "noise": (np.random.default_rng(1).normal(100, 5, (41, 41)), "no point stands out"),
    "not finite": (np.where(np.eye(21), np.nan, 1.0), "no numbers"),
    "a volume": (np.ones((5, 21, 21)), "2 axes in space"),
    "at the border": (beads([(0, 10)], (1, 1), (21, 21)), "too close"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_point_spread_function_is_refused(tmp_path, kind):
    image, words = WRONG[kind]
    path = saved(tmp_path / "psf.tif", image.astype(np.float32))
    with pytest.raises(InputError, match=words):
        read_point_spread(path, 2)
    with pytest.raises(InputError, match=words):
        train(data.coins(), task="deblur", point_spread=path, steps=5, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_larger_than_a_patch_or_missing_is_refused(tmp_path):
    path = saved(tmp_path / "wide.tif", beads([(40, 40)], (12, 2), (81, 81)))
    config = with_point_spread(TrainingConfig(task="deblur", scale=(1, 1)), path)
    with pytest.raises(InputError, match="more than a patch of 40"):
        with_point_spread_digest(config)
    with pytest.raises(InputError, match="there is no"):
        with_point_spread_digest(with_point_spread(config, tmp_path / "gone.tif"))
    with pytest.raises(InputError, match="give both"):
        Degradations(measured=1.0)


def test_a_run_goes_on_with_the_file_it_began_with(tmp_path):
    path = saved(tmp_path / "psf.tif", beads([(8, 8)], (1, 1), (17, 17)))
    config = with_point_spread_digest(
        with_point_spread(TrainingConfig(task="deblur", scale=(1, 1)), path)
    )
    assert config.degradation.point_spread_sha256 == digest_of(path)
    (tmp_path / "run").mkdir()
    write_config(config, tmp_path / "run" / "config.toml")
    assert read_config(tmp_path / "run" / "config.toml") == config
    drawn = config.degradation.draw(np.random.default_rng(0), (1, 1))
    assert drawn.instrument.point_spread == read_point_spread(path, 2)
    saved(path, beads([(8, 8)], (2, 2), (17, 17)))
    with pytest.raises(InputError, match="not the point spread function that this run began with"):
        with_point_spread_digest(config)


def test_patches_are_turned_only_as_the_blur_allows(tmp_path):
    even = np.outer([0.2, 0.6, 0.2], [0.1, 0.2, 0.4, 0.2, 0.1])
    assert even_axes(PointSpread(even), (0, 1)) == ((0, 1), ())
    assert even_axes(PointSpread.gaussian((1.0, 1.0)), (0, 1)) == ((0, 1), (0, 1))
    tail = np.outer([0.2, 0.6, 0.2], [0, 0, 0.5, 0.3, 0.2])
    assert even_axes(PointSpread(tail), (0, 1)) == ((0,), ())
    config = TrainingConfig(task="deblur", scale=(1, 1))
    assert allowed_turns(config) == (None, (0, 1))
    ramp = np.tile(np.arange(30.0), (30, 1)) + 100 * np.arange(30.0)[:, None]
    rng = np.random.default_rng(0)
    fine = draw_batch(
        [make_pair(ramp, ramp)], rng, size=8, batch=24, transpose_axes=(), flip_axes=(0,)
    ).fine[:, 0]
    assert (fine[:, :, 1:] > fine[:, :, :-1]).all()
    upwards = fine[:, 1, 0] > fine[:, 0, 0]
    assert 0 < upwards.sum() < 24


def test_settings_take_the_file_from_their_own_folder(tmp_path):
    saved(tmp_path / "psf.tif", beads([(8, 8)], (1, 1), (17, 17)))
    (tmp_path / "run.toml").write_text(
        'task = "deblur"\nscale = [1, 1]\n[degradation]\npoint_spread_share = 1.0\nbicubic = 0.0\n'
        'gaussian = 0.0\nmeasured = 1.0\npoint_spread_file = "psf.tif"\n'
    )
    config = read_config(tmp_path / "run.toml")
    assert Path(config.degradation.point_spread_file) == tmp_path / "psf.tif"
    assert with_point_spread_digest(config).degradation.point_spread_sha256


def scene(*shape, seed=0):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return ((noise > 0) + 0.3 * noise / noise.std()).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "sigma"), [((96, 96), (0.8, 2.0)), ((28, 40, 40), (2.0, 0.8, 0.8))], ids=["2D", "3D"]
)
def test_a_network_learns_to_undo_it(tmp_path, shape, sigma):
    ndim = len(shape)
    size = (17, 17, 17)[:ndim]
    path = saved(tmp_path / "bead.tif", beads([(8,) * ndim], sigma, size))
    for number in range(4):
        saved(tmp_path / f"sharp-{number}.tif", scene(*shape, seed=number))
    config = with_point_spread(
        TrainingConfig(
            task="deblur", scale=(1,) * ndim, steps=120, batch=2, patch=24 if ndim == 2 else 18,
            pairs=4, threads=1, device="cpu", validate_every=60,
            data=DataSettings(
                tuple(str(tmp_path / f"sharp-{n}.tif") for n in range(3)), minimum=20,
                validation=(str(tmp_path / "sharp-3.tif"),),
                binned=False,
            ),
            model=ModelSettings("sharper", arguments={"features": 12, "blocks": 2}),
        ),
        path,
    )  # fmt: skip
    config = replace(config, degradation=replace(config.degradation, noisy_share=0.0))
    model = run_training(config, tmp_path / "run")
    truth = scene(*shape, seed=9)
    blurred = convolve(truth, read_point_spread(path, ndim).kernel.astype(np.float32))
    result = upscale(blurred, load_model(model))
    inner = (slice(4, -4),) * ndim
    error, before = (np.mean((x - truth)[inner] ** 2) for x in (result, blurred))
    assert 10 * np.log10(before / error) > 1.5
    card = (tmp_path / "run" / "model.md").read_text("utf-8")
    assert digest_of(path) in card
    assert "bead.tif" in card
    assert " x ".join(f"{w:.2f}" for w in widths_of(read_point_spread(path, ndim))) in card
    assert str(tmp_path) not in card


def test_the_command_line_takes_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "models"))
    path = saved(tmp_path / "bead.tif", beads([(8, 8)], (0.8, 1.5), (17, 17)))
    saved(tmp_path / "sharp.tif", scene(150, 150))
    (tmp_path / "run.toml").write_text(
        "batch = 2\npatch = 16\npairs = 2\nthreads = 1\n[model]\nname = 'sharper'\n"
        "arguments = {features = 4, blocks = 1}\n"
    )
    command = ["train", str(tmp_path / "sharp.tif"), "--task", "deblur", "--steps", "3", "-q"]
    command += ["--config", str(tmp_path / "run.toml"), "--out", str(tmp_path / "run")]
    refused = CliRunner().invoke(app, [*command, "--psf", str(tmp_path / "gone.tif")])
    assert refused.exit_code == 1
    assert "gone.tif" in refused.output
    assert not (tmp_path / "run").exists()
    done = CliRunner().invoke(app, [*command, "--psf", str(path)])
    assert done.exit_code == 0, done.output
    config = read_config(tmp_path / "run" / "config.toml")
    assert (config.task, config.scale) == ("deblur", (1, 1))
    assert config.degradation.point_spread_sha256 == digest_of(path)
    assert config.degradation.noisy_share == 0.9
    assert find_spec("sharper").task == "deblur"
