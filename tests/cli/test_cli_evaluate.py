"""``napari-hrsr evaluate`` on files."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_hrsr.cli import app
from napari_hrsr.files import read_image, write_image
from napari_hrsr.metadata import ImageMetadata

RUNNER = CliRunner()


def run(*arguments):
    return RUNNER.invoke(app, [str(a) for a in arguments])


def picture(shape, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    clean = 800 + 200 * np.sin(y / 5) * np.cos(x / 7)
    return (clean + rng.normal(0, 6, shape)).round().astype(np.uint16)


def write(path, data, axes, size=0.2):
    n = len(axes)
    write_image(path, data, ImageMetadata(axes, (size,) * n, (0.0,) * n, ("micrometer",) * n))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    write(folder / "cells.ome.tif", picture((48, 56)), "YX")
    done = run("upscale", folder / "cells.ome.tif", folder / "x2.ome.tif", "--model", "cubic-2x2")
    assert done.exit_code == 0, done.output
    return folder


def test_the_recorded_source_is_found_beside_the_result(folder):
    done = run(
        "evaluate", folder / "x2.ome.tif", "--json", folder / "all.json", "--report",
        folder / "page.html", "--map", folder / "map.ome.tif",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    for part in ("source: cells.ome.tif", "chi-square", "µm", "* Degraded again"):
        assert part in done.output
    found = json.loads((folder / "all.json").read_text("utf-8"))
    assert found["factor"] == [2, 2]
    assert found["voxel_size"] == [0.1, 0.1]
    assert found["record"]["model"] == "cubic-2x2"
    assert found["consistency"]["chi_square"] > 0
    assert found["verdicts"]
    assert (folder / "page.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    shown, source = read_image(folder / "map.ome.tif"), read_image(folder / "cells.ome.tif")
    assert shown.data.shape == source.data.shape
    np.testing.assert_allclose(shown.metadata.scale, source.metadata.scale)
    np.testing.assert_allclose(shown.metadata.translate, source.metadata.translate)


def test_what_exists_is_replaced_only_where_that_is_allowed(folder):
    (folder / "mine.json").write_text("mine")
    done = run("evaluate", folder / "x2.ome.tif", "--json", folder / "mine.json")
    assert done.exit_code == 1
    assert "exists" in done.output
    assert (folder / "mine.json").read_text() == "mine"
    done = run("evaluate", folder / "x2.ome.tif", "--json", folder / "x2.ome.tif", "--overwrite")
    assert done.exit_code == 1
    assert "one of the images" in done.output


def test_a_reference_and_options_are_taken(folder):
    write(folder / "truth.ome.tif", picture((96, 112), 1), "YX", 0.1)
    done = run(
        "evaluate", folder / "x2.ome.tif", "--reference", folder / "truth.ome.tif", "--match",
        "--border", 2, "--data-range", 4095, "--noise", 6, "--psf-sigma", "0.5,0.5",
        "--factor", 2, "--json", folder / "reference.json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "PSNR" in done.output
    assert "cubic" in done.output
    found = json.loads((folder / "reference.json").read_text("utf-8"))
    assert found["reference"]["span"] == 4095
    assert found["reference"]["matched"]
    assert found["consistency"]["psf_sigma"] == [1, 1]
    assert found["consistency"]["noise"] == 6


def test_one_time_point_of_a_movie_and_its_region(tmp_path):
    movie = np.stack([picture((40, 44), seed) for seed in range(3)])
    write(tmp_path / "movie.ome.tif", movie, "TYX")
    run("upscale", tmp_path / "movie.ome.tif", tmp_path / "x2.ome.tif", "--model", "cubic-2x2")
    done = run(
        "evaluate", tmp_path / "x2.ome.tif", "--index", "T=2", "--map", tmp_path / "map.ome.tif"
    )
    assert done.exit_code == 0, done.output
    assert "T 2 of 3" in done.output
    shown = read_image(tmp_path / "map.ome.tif")
    # TIFF keeps no axis of one pixel.
    assert np.squeeze(np.asarray(shown.data)).shape == (40, 44)
    for wrong, message in (("T=3", "no place 3"), ("C=0", "no axis"), ("Y=0", "whole"), ("T", "-")):
        done = run("evaluate", tmp_path / "x2.ome.tif", "--index", wrong)
        assert done.exit_code == 1
        assert message in done.output


def test_uncertainty_needs_a_recorded_model(folder, tmp_path):
    done = run("evaluate", folder / "x2.ome.tif", "--uncertainty", "--json", tmp_path / "a.json")
    assert done.exit_code == 0, done.output
    write(tmp_path / "unknown.ome.tif", np.asarray(read_image(folder / "x2.ome.tif").data), "YX")
    done = run(
        "evaluate", tmp_path / "unknown.ome.tif", "--source", folder / "cells.ome.tif",
        "--uncertainty",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Left out: uncertainty: the result holds no record of a model" in done.output
    assert "chi-square" in done.output


@pytest.mark.parametrize(
    ("name", "found"), [("../secret.ome.tif", False), ("near.ome.tif", True), ("", False)]
)
def test_a_record_cannot_lead_out_of_the_folder(tmp_path, name, found):
    inside = tmp_path / "inside"
    inside.mkdir()
    for path in (tmp_path / "secret.ome.tif", inside / "near.ome.tif"):
        write(path, picture((48, 56)), "YX")
    metadata = ImageMetadata("YX", (0.1, 0.1), (0.0, 0.0), ("micrometer",) * 2)
    write_image(inside / "x2.ome.tif", picture((96, 112)), metadata, record={"source": name})
    done = run("evaluate", inside / "x2.ome.tif")
    assert done.exit_code == 0, done.output
    assert ("source: near.ome.tif" in done.output) == found
    assert "secret" not in done.output


def test_images_that_do_not_belong_together_are_refused_in_a_line(folder, tmp_path):
    write(tmp_path / "other.ome.tif", picture((47, 56)), "YX")
    for arguments, message in (
        (("--reference", tmp_path / "other.ome.tif"), "shape"),
        (("--source", tmp_path / "missing.tif"), "no file"),
        (("--factor", "two"), "factor is a number"),
    ):
        done = run("evaluate", folder / "x2.ome.tif", *arguments)
        assert done.exit_code == 1, done.output
        assert message in done.output
        assert "Traceback" not in done.output
