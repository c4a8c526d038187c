"""A stack made isotropic, as people call it."""

from __future__ import annotations

import threading
from pathlib import Path

import dask.array
import nibabel
import numpy as np
import pytest
import tifffile
import zarr
from napari.layers import Image
from scipy.ndimage import gaussian_filter, zoom
from typer.testing import CliRunner

from napari_hrsr import make_isotropic, make_isotropic_layer
from napari_hrsr.cli import app
from napari_hrsr.errors import CancelledError, HrsrError, InputError
from napari_hrsr.files import read_image
from napari_hrsr.forward import AxialProfile, slice_matrix
from napari_hrsr.isotropic.axial_model import read_axial_model
from napari_hrsr.isotropic.measuring import Wishes
from napari_hrsr.isotropic.running import (
    LEARNING,
    RESTORING,
    Choices,
    make_wishes,
    prepare,
)
from napari_hrsr.replay import read_recipe

PROFILE = AxialProfile("gaussian", 1.0)
SPACING = (3.0, 1.0, 1.0)


def texture(*shape: int) -> np.ndarray:
    """An object that looks alike from all sides, with edges."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=shape), 2.0, mode="wrap")
    return (1000 * (noise > 0) + 200 * gaussian_filter(noise, 2) / noise.std()).astype(np.float32)


def sliced(volume: np.ndarray, ratio: float = 3.0) -> np.ndarray:
    slices = int(len(volume) / ratio)
    matrix = slice_matrix(PROFILE, ratio, slices, len(volume))
    return np.tensordot(matrix, volume, (1, 0)).astype(np.float32)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return gaussian_filter(texture(60, 64, 56), 0.6).astype(np.float32)


@pytest.fixture(scope="module")
def stack(truth: np.ndarray) -> np.ndarray:
    return sliced(truth)


@pytest.fixture(scope="module")
def model(stack: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("axial") / "texture.safetensors"
    choices = Choices(keep=path, steps=250)
    prepare(stack, None, make_wishes(SPACING, fwhm=3.0), choices, lambda *_: None, lambda: False)
    return path


def psnr(result: np.ndarray, truth: np.ndarray) -> float:
    return float(10 * np.log10(np.ptp(truth) ** 2 / np.mean((result - truth) ** 2)))


def test_it_beats_interpolation_against_the_truth(truth, stack, model):
    result = make_isotropic(stack, SPACING, model=model)
    spline = zoom(stack, (3, 1, 1), order=3, mode="nearest", grid_mode=True)
    assert result.shape == truth.shape
    assert psnr(result, truth) > psnr(spline, truth) + 1.5


def test_the_result_gives_the_measured_slices_again(stack, model):
    result = make_isotropic(stack, SPACING, model=model, noise=0, tile=(9, 20, 20))
    again = sliced(result)
    assert np.linalg.norm(again - stack) / np.linalg.norm(stack) < 1e-4


@pytest.mark.parametrize("kind", ["dask", "zarr", "memmap", "uint16"])
def test_any_array_gives_the_same(stack, model, kind, tmp_path):
    whole = make_isotropic(np.round(stack).astype(np.float32), SPACING, model=model)
    if kind == "uint16":
        counts = np.clip(np.round(stack), 0, None)
        source = counts.astype(np.uint16)
        result = make_isotropic(source, SPACING, model=model)
        assert result.dtype == np.uint16
        expected = make_isotropic(counts, SPACING, model=model)
        assert np.abs(result - np.clip(expected, 0, 65535)).max() <= 0.51
        return
    rounded = np.round(stack).astype(np.float32)
    if kind == "dask":
        source = dask.array.from_array(rounded, chunks=(5, 30, 30))
    elif kind == "zarr":
        source = zarr.create_array(tmp_path / "a.zarr", data=rounded, chunks=(5, 30, 30))
    else:
        source = np.memmap(tmp_path / "raw", np.float32, "w+", shape=rounded.shape)
        source[:] = rounded
    assert np.allclose(make_isotropic(source, SPACING, model=model), whole, atol=1e-2)


def test_another_axis_and_channels_are_the_same_stack_turned(stack, model):
    expected = make_isotropic(stack, SPACING, model=model)
    turned = np.ascontiguousarray(stack.transpose(1, 0, 2))
    along_y = make_isotropic(turned, (1.0, 3.0, 1.0), axis=1, model=model)
    assert np.allclose(along_y.transpose(1, 0, 2), expected, atol=0.2)
    two = np.stack([stack, 0.5 * stack + 7])
    channels = make_isotropic(two, SPACING, axes="CZYX", model=model)
    assert np.allclose(channels[0], expected, atol=0.2)
    assert np.allclose(channels[1], 0.5 * expected + 7, atol=0.2)


def test_noisy_slices_are_not_sharpened_into_noise(truth, tmp_path):
    rng = np.random.default_rng(1)
    first, second = (sliced(truth) + rng.normal(0, 80, (20, 64, 56)) for _ in range(2))
    path = tmp_path / "noisy.safetensors"
    choices = Choices(keep=path, steps=150)
    wishes = make_wishes(SPACING, fwhm=3.0)
    measured, _ = prepare(first, None, wishes, choices, lambda *_: None, lambda: False)
    assert measured.noise > 0.03

    def noise_of(one, other):
        return float(np.std(one - other)) / np.sqrt(2)

    ours = [make_isotropic(s, SPACING, model=path) for s in (first, second)]
    splines = [zoom(s, (3, 1, 1), order=3, mode="nearest", grid_mode=True) for s in (first, second)]
    assert noise_of(*ours) < noise_of(*splines)
    assert psnr(ours[0], truth) > psnr(splines[0], truth)


def test_doubt_is_where_the_two_orientations_differ(stack, model, tmp_path):
    # Walls across x look different in the planes zx, which see them, and zy, which do not.
    odd = stack[:, 10:54, 10:46].copy()
    odd[8:12, 10:34, 10:26] += np.where(np.arange(16) % 2, 1500, -1500).astype(np.float32)
    result, doubt = make_isotropic(
        odd, SPACING, model=model, with_doubt=True, dtype="uint16", tile=(9, 20, 20)
    )
    assert (result.dtype, doubt.dtype) == (np.uint16, np.float32)
    assert result.shape == doubt.shape
    assert doubt.min() >= 0
    assert doubt[26:34, 14:30, 14:22].mean() > 3 * np.median(doubt)
    whole = make_isotropic(odd, SPACING, model=model, with_doubt=True, dtype="uint16")[1]
    assert np.allclose(doubt, whole, atol=0.05)


def test_learning_can_be_cancelled_and_cut_short(stack):
    wishes, seen = make_wishes(SPACING), []
    stop = threading.Event()

    def report(what, done, total):
        if what == LEARNING:
            seen.append(done)
            stop.set()

    with pytest.raises(CancelledError, match="learning"):
        prepare(stack, None, wishes, Choices(steps=100000), report, stop.is_set)
    assert seen
    enough = threading.Event()
    enough.set()
    _, learned = prepare(
        stack,
        None,
        wishes,
        Choices(steps=300),
        lambda *_: None,
        lambda: False,
        enough=enough.is_set,
    )
    assert learned.spec.scale == (3, 1)


def test_restoring_can_be_cancelled_and_gone_on_with_from_the_kept_network(stack, tmp_path):
    stop, path = threading.Event(), tmp_path / "kept.safetensors"
    source = stack.copy()

    def report(what, done, total):
        if what == RESTORING:
            stop.set()

    out = tmp_path / "out.ome.zarr"
    choices = {"tile": (20, 8, 8), "fwhm": 3.0}
    learned = Choices(keep=path, steps=5)
    prepare(stack, None, make_wishes(SPACING, fwhm=3.0), learned, report, lambda: False)
    with pytest.raises(CancelledError):
        make_isotropic(
            stack, SPACING, model=path, out=out, progress=report, cancelled=stop, **choices
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept.safetensors"]
    assert np.array_equal(stack, source)
    result = make_isotropic(stack, SPACING, model=path, out=out, **choices)
    assert np.allclose(result[...], make_isotropic(stack, SPACING, model=path), atol=1e-2)
    assert read_image(out).metadata.scale == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("target", [None, 0.7])
def test_a_layer_gets_a_layer_that_fills_the_same_box(stack, model, target):
    layer = Image(
        stack[:, :40, :40],
        scale=(3.0, 1.0, 1.0),
        translate=(5.0, -2.0, 9.0),
        rotate=[[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]],
        name="brain",
        contrast_limits=(10, 900),
        units="um",
    )
    wishes = Wishes((3.0, 1.0, 1.0), target=target)
    data, attributes, kind = make_isotropic_layer(
        layer, wishes=wishes, choices=Choices(model=model)
    )
    result = Image(data, **attributes)
    assert kind == "image"
    assert result.name == "brain isotropic"
    assert np.allclose(result.scale, target or 1.0)
    assert tuple(result.contrast_limits) == (10, 900)
    assert [str(u) for u in result.units] == [str(u) for u in layer.units]
    first = layer.data_to_world([-0.5] * 3), result.data_to_world([-0.5] * 3)
    assert np.allclose(*first, atol=1e-5)
    covered = np.array(result.data.shape) * (target or 1.0)
    assert np.all(covered >= np.array([60, 40, 40]) - 1e-6)
    assert np.all(covered < np.array([60, 40, 40]) + (target or 1.0))
    record = attributes["metadata"]["napari_hrsr"]
    assert record["task"] == "isotropic"
    assert record["weights_sha256"]
    assert "inferred" in record["caution"]


@pytest.mark.parametrize("suffix", [".ome.tif", ".nii.gz", ".ome.zarr"])
def test_a_file_becomes_a_file_with_its_geometry(stack, model, suffix, tmp_path):
    source = tmp_path / "in.nii.gz"
    affine = np.diag([-0.5, 0.5, 1.3, 1.0])
    affine[:3, 3] = (30, -20, 7)
    image = nibabel.Nifti1Image(stack.T.copy(), affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, source)
    target = tmp_path / f"out{suffix}"
    command = ["isotropic", str(source), str(target), "--model", str(model), "--fwhm", "1.3"]
    outcome = CliRunner().invoke(app, command)
    # The network was learned from slices 3 pixels apart, these are 2.6 apart.
    assert outcome.exit_code == 1
    assert "learn a new one" in outcome.stderr
    assert not target.exists()
    command += ["--spacing", "1.5", "0.5", "0.5", "--doubt", str(tmp_path / f"doubt{suffix}")]
    outcome = CliRunner().invoke(app, command)
    assert outcome.exit_code == 0, outcome.stderr
    assert "inferred" in outcome.stderr
    result = read_image(target)
    assert result.data.shape == (60, 64, 56)
    scale = [result.metadata.scale[result.metadata.axes.index(a)] for a in "ZYX"]
    assert np.allclose(scale, 0.5)
    expected = make_isotropic(stack, (1.5, 0.5, 0.5), model=model, fwhm=1.3)
    assert np.allclose(np.asarray(result.data[...]), expected, atol=1e-2)
    with pytest.raises(InputError, match="isotropic"):
        read_recipe(target)
    doubt = read_image(tmp_path / f"doubt{suffix}")
    assert doubt.data.shape == (60, 64, 56)
    assert doubt.metadata.scale == result.metadata.scale
    if suffix == ".nii.gz":
        placed = nibabel.load(target).affine
        corner = np.array([-0.5, -0.5, -0.5, 1])
        declared = affine.copy()
        declared[:3, 2] *= 1.5 / 1.3
        assert np.allclose(placed @ corner, declared @ corner, atol=1e-5)
        assert np.allclose(np.abs(np.diag(placed)[:3]), 0.5)


def test_the_command_line_learns_and_keeps(stack, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "models"))
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, stack, metadata={"axes": "ZYX"})
    target = tmp_path / "out.ome.tif"
    command = ["isotropic", str(source), str(target)]
    outcome = CliRunner().invoke(app, command)
    assert outcome.exit_code == 1
    assert "--spacing" in outcome.stderr
    command += ["--spacing", "3", "1", "1", "--minutes", "0.01", "--save-model", "texture"]
    outcome = CliRunner().invoke(app, command)
    assert outcome.exit_code == 0, outcome.stderr
    assert read_image(target).data.shape == (60, 64, 56)
    assert read_axial_model("texture").facts.ratio == 3


def test_what_cannot_be_done_is_refused_before_anything_is_learned(stack, model, tmp_path):
    learning = {"progress": lambda what, done, total: pytest.fail(f"{what} was started")}

    def refused(word, *args, **options):
        with pytest.raises(HrsrError, match=word):
            make_isotropic(*args, **learning, **options)

    refused("voxel sizes", stack)
    refused("nothing to refine", stack, (1.0, 1.0, 1.0))
    refused("three spatial axes", stack, (3.0, 1.0))
    refused("numbers", stack, ("a", 1, 1))
    refused("not finer", stack, SPACING, target=4.0)
    refused("axes", stack[0], SPACING)
    refused("colours", np.zeros((9, 30, 30, 3), np.uint8), SPACING, axes="ZYXS")
    refused("out has shape", stack, SPACING, out=np.zeros((3, 3, 3)))
    refused("one of|profile", stack, SPACING, profile="round.txt")
    refused("above 0", stack, SPACING, fwhm=-1.0)
    refused("no model", stack, SPACING, model="unheard-of")
    refused("these are 4 apart", stack, (4.0, 1.0, 1.0), model=model)
    refused("ome.zarr", stack, SPACING, out=tmp_path / "out.tif")
    refused("no name", stack, SPACING, save_model="a/b")
    refused("consistency", stack, SPACING, model=model, consistency="often")
    refused("device", stack, SPACING, device="toaster")
    assert not list(tmp_path.iterdir())


def test_a_measured_profile_is_used(stack, model, tmp_path):
    samples = np.exp(-4 * np.log(2) * (np.arange(-6, 7) / 3.0) ** 2)
    text = tmp_path / "profile.txt"
    np.savetxt(text, samples)
    results = [
        make_isotropic(stack, SPACING, model=model, profile=given, fwhm=3.0, noise=0)
        for given in (samples, text, "gaussian")
    ]
    assert np.array_equal(results[0], results[1])
    assert np.abs(results[0] - results[2]).max() < 0.02 * np.ptp(stack)
    with pytest.raises(InputError, match="even"):
        make_isotropic(stack, SPACING, model=model, profile=samples[1:], fwhm=3.0)
