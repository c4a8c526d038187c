from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from linear_filter import LinearFilter
from matlab_resize import shrink
from PIL import Image
from published_protocol import (
    crop_to_multiple,
    find_files,
    luminance,
    measure,
    read_example,
    to_uint8,
)
from published_sets import is_off, linear_method, main, model_method, table
from skimage import data

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "published_sets.py"
PHOTOGRAPHS = {
    "astronaut.png": data.astronaut()[:97, 180:281],
    "camera.bmp": data.camera()[100:180, 200:290],
}


@pytest.fixture
def images(tmp_path):
    """Set5 as plain files, B100 in the layout of SelfExSR, no Set14."""
    (tmp_path / "Set5").mkdir()
    for name, pixels in PHOTOGRAPHS.items():
        Image.fromarray(pixels).save(tmp_path / "Set5" / name)
    (tmp_path / "Set5" / "Thumbs.db").write_text("no image")
    folder = tmp_path / "BSDS100" / "image_SRF_2"
    folder.mkdir(parents=True)
    fine = data.coffee()[100:180, 200:300]
    Image.fromarray(fine).save(folder / "img_001_SRF_2_HR.png")
    Image.fromarray(to_uint8(shrink(fine, 2))).save(folder / "img_001_SRF_2_LR.png")
    return tmp_path


def test_luminance_is_that_of_rgb2ycbcr():
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]])
    assert luminance(colours.astype(np.uint8)).tolist() == [[16, 235, 81, 145, 41]]
    grey = np.array([[0, 100, 255]], np.uint8)
    assert luminance(grey).tolist() == grey.tolist()


def test_what_does_not_fill_a_coarse_pixel_is_left_out():
    image = np.zeros((101, 98, 3))
    assert crop_to_multiple(image, 4).shape == (100, 96, 3)
    assert crop_to_multiple(image, 1).shape == image.shape


def test_the_border_does_not_count():
    truth = data.camera()[:64, :64]
    result = truth.copy()
    result[:2] = result[-2:] = result[:, :2] = result[:, -2:] = 0
    assert measure(result, truth, 2) == (np.inf, pytest.approx(1))
    assert measure(result, truth, 1)[0] < 30


def test_psnr_and_ssim_of_a_shift_in_brightness():
    truth = data.camera()[:64, :64] // 2
    psnr, ssim = measure(truth + np.uint8(5), truth, 0)
    assert psnr == pytest.approx(20 * np.log10(255 / 5))
    assert 0.9 < ssim < 1


def test_both_layouts_are_found_and_what_is_missing_is_known(images):
    found = find_files(images, 2)
    assert [fine.name for fine, _ in found["Set5"]] == list(PHOTOGRAPHS)
    assert [(fine.name, coarse.name) for fine, coarse in found["B100"]] == [
        ("img_001_SRF_2_HR.png", "img_001_SRF_2_LR.png")
    ]
    assert found["Set14"] == []


def test_a_given_low_resolution_image_is_used_as_it_is(images):
    (fine, coarse) = find_files(images, 2)["B100"][0]
    marked = np.asarray(Image.open(coarse)).copy()
    marked[3, 4] = 255
    Image.fromarray(marked).save(coarse)
    assert read_example(fine, coarse, 2).coarse[3, 4] == 235


def test_a_low_resolution_image_of_another_size_is_refused(images):
    (fine, coarse) = find_files(images, 2)["B100"][0]
    with pytest.raises(ValueError, match="not x3"):
        read_example(fine, coarse, 3)


def test_bicubic_is_held_to_what_was_published():
    means = {"Set5": {"bicubic": (33.67, 0.93)}, "B100": {"bicubic": (29.5, 0.84)}}
    assert is_off(means, 2)
    lines = table(means, ["bicubic"], 2)
    assert lines[2] == "| bicubic, published | 33.66 / 0.9299 | 30.24 / 0.8688 | 29.56 / 0.8431 |"
    assert lines[3] == (
        "| bicubic | 33.67 / 0.9300 ✓ | not measured | 29.50 / 0.8400 ✗ off by -0.06 dB |"
    )
    del means["B100"]
    assert not is_off(means, 2)


def test_a_model_of_another_factor_is_refused():
    with pytest.raises(ValueError, match=r"cubic-3x3.*not by 2"):
        model_method("cubic-3x3", 2, "auto")


@pytest.mark.parametrize("factor", [(2, 2), (3, 1)])
def test_the_linear_filter_finds_the_filter_that_made_the_truth(factor):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 3, np.prod(factor)))
    weights[1, 1] += 1 - weights.sum((0, 1))

    def truth_of(coarse):
        padded = np.pad(coarse, 1, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
        phases = np.einsum("yxij,ijp->yxp", windows, weights)
        blocks = phases.reshape(*coarse.shape, *factor).transpose(0, 2, 1, 3)
        return blocks.reshape([n * k for n, k in zip(coarse.shape, factor, strict=True)])

    linear = LinearFilter(factor, 1)
    for _ in range(3):
        coarse = rng.random((30, 40))
        linear.add(coarse, truth_of(coarse), rng)
    linear.fit()
    other = rng.random((20, 25))
    np.testing.assert_allclose(linear(other), truth_of(other), atol=1e-3)


def test_the_linear_filter_beats_bicubic_on_what_it_was_fitted_to(images):
    linear = linear_method(images / "Set5", 2)
    for fine, _ in find_files(images, 2)["Set5"]:
        example = read_example(fine, None, 2)
        cubic = np.asarray(
            Image.fromarray(example.coarse).resize(
                example.fine.shape[::-1], Image.Resampling.BICUBIC
            )
        )
        ours = measure(linear(example), example.fine, 2)[0]
        assert ours > measure(cubic, example.fine, 2)[0] + 0.3


def test_the_script_measures_reports_what_is_missing_and_says_that_bicubic_is_off(images, tmp_path):
    folders = ("--images", images, "--linear-from", images / "Set5", "--out", tmp_path / "out")
    done = subprocess.run(
        [sys.executable, SCRIPT, *folders], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1, done.stderr
    assert "Set14 is missing" in done.stdout
    assert "Set5 has 2 images instead of 5" in done.stdout
    assert "✗ off by" in done.stdout
    assert (tmp_path / "out" / "published_sets_x2.md").read_text("utf-8") == done.stdout
    rows = json.loads((tmp_path / "out" / "published_sets_x2.json").read_text("utf-8"))
    assert len(rows) == 3 * 5
    psnr = {
        method: np.mean([row["psnr"] for row in rows if row["method"] == method])
        for method in ("bicubic", "linear filter 7 x 7", "back-projection-2x2", "general-2d-x2")
    }
    assert psnr["bicubic"] < min(v for name, v in psnr.items() if name != "bicubic")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scale", "4", "--model", "cubic-4x4"], "Set5 is missing"),
        (["--model", "no-such-model"], "there is no model 'no-such-model'"),
        (["--noise", "much"], "much"),
    ],
)
def test_a_folder_without_images_and_wrong_options_are_refused(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--images", str(tmp_path), *arguments])
    try:
        code = main()
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert message in "".join(capsys.readouterr())
