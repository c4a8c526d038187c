from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_hrsr import list_models, upscale
from napari_hrsr.cli import app
from napari_hrsr.files import read_image, write_image
from napari_hrsr.headless_demo import draw_comparison, interesting_crop
from napari_hrsr.metadata import ImageMetadata
from napari_hrsr.replay import read_recipe

METADATA = ImageMetadata(
    "ZYX", (2.0, 0.5, 0.5), (1.0, -3.0, 0.25), ("micrometer",) * 3
)  # fmt: skip


def run(*arguments: object) -> object:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def stack(dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1000, (4, 20, 24)).astype(dtype)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.ome.tif"
    write_image(path, stack(), METADATA)
    return path


@pytest.mark.parametrize("name", ["out.ome.tif", "out.ome.zarr", "out.nii.gz"])
def test_the_file_holds_what_the_api_returns(tmp_path: Path, source: Path, name: str) -> None:
    done = run("upscale", source, tmp_path / name, "--model", "cubic-2x2x2", "--tile", "2,10,8")
    assert done.exit_code == 0, done.output
    back = read_image(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(back.data), upscale(stack(), "cubic-2x2x2"))
    assert back.data.dtype == np.uint16
    assert back.metadata.axes == "ZYX"
    np.testing.assert_allclose(back.metadata.scale, (1.0, 0.25, 0.25))
    np.testing.assert_allclose(back.metadata.translate, (0.5, -3.125, 0.125))
    assert back.metadata.units == ("micrometer",) * 3
    assert back.record["model"] == "cubic-2x2x2"
    assert back.record["tile"] == [2, 10, 8]
    assert str(tmp_path) not in json.dumps(back.record)
    assert {p.name for p in tmp_path.iterdir()} == {"source.ome.tif", name}


def test_a_result_larger_than_memory_is_streamed_from_disk(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_hrsr.api.free_memory", lambda: 1000)
    done = run("upscale", source, tmp_path / "out.tif", "--model", "cubic-2x2x2")
    assert done.exit_code == 0, done.output
    out = np.asarray(read_image(tmp_path / "out.tif").data)
    np.testing.assert_array_equal(out, upscale(stack(), "cubic-2x2x2", out=np.empty_like(out)))
    assert {p.name for p in tmp_path.iterdir()} == {"source.ome.tif", "out.tif"}


def test_options_reach_the_run(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((2, 3, 16, 18), np.float32)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack")
    done = run(
        "upscale", tmp_path / "a.tif", tmp_path / "out.ome.zarr", "--model", "back-projection-2x2",
        "--axes", "tcyx", "--dtype", "float64", "--noise", 0.5, "--intensity", "frame",
        "--device", "cpu", "--precision", "float32", "--tile", 9, "--quiet",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    back = read_image(tmp_path / "out.ome.zarr")
    assert back.metadata.axes == "TCYX"
    assert back.data.dtype == np.float64
    assert back.record["intensity"]["noise"] == [[0.5] * 3] * 2
    assert back.record["tile"] == [8, 9]


def test_rgb_png(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (15, 17, 3)).astype(np.uint8)
    write_image(tmp_path / "a.png", image, ImageMetadata("YXS", (1.0,) * 3, (0.0,) * 3, ("",) * 3))
    done = run("upscale", tmp_path / "a.png", tmp_path / "b.png", "--model", "cubic-3x3")
    assert done.exit_code == 0, done.output
    expected = upscale(image, "cubic-3x3", axes="YXS")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").data, expected)


@pytest.mark.parametrize("kind", ["result.ome.zarr", "result.tif", "record.json"])
def test_a_recipe_repeats_a_result_bit_for_bit(tmp_path: Path, source: Path, kind: str) -> None:
    write_image(source, stack()[:2], METADATA)
    first, second = tmp_path / "result.ome.zarr", tmp_path / "again.tif"
    name = first if kind == "record.json" else tmp_path / kind
    settings = (
        "--model",
        "back-projection-2x2",
        "--tile",
        12,
        "--noise",
        3.5,
        "--dtype",
        "float32",
    )
    assert run("upscale", source, name, *settings).exit_code == 0
    recipe = name
    if kind == "record.json":
        recipe = tmp_path / kind
        recipe.write_text(json.dumps(read_image(name).record))
    done = run("upscale", source, second, "--recipe", recipe)
    assert done.exit_code == 0, done.output
    one, two = read_image(name), read_image(second)
    assert np.asarray(one.data).tobytes() == np.asarray(two.data).tobytes()
    assert one.record == two.record


def test_a_recipe_repeats_the_region_and_the_numbers(tmp_path: Path, source: Path) -> None:
    run("upscale", source, tmp_path / "a.tif", "--model", "back-projection-2x2")
    record = read_image(tmp_path / "a.tif").record
    record["region"] = [[1, 3], [0, 20], [4, 12]]
    record["intensity"] = {"low": [5.0], "high": [80.0], "noise": [2.0]}
    (tmp_path / "r.json").write_text(json.dumps(record))
    done = run("upscale", source, tmp_path / "b.tif", "--recipe", tmp_path / "r.json")
    assert done.exit_code == 0, done.output
    back = read_image(tmp_path / "b.tif")
    assert back.data.shape == (2, 40, 16)
    assert back.record["region"] == record["region"]
    assert back.record["intensity"] == record["intensity"]
    assert back.metadata.translate == pytest.approx((3.0, -3.125, 2.125))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"weights_sha256": "0" * 64}, "weights"),
        ({"source_shape": [20, 24]}, "2 axes"),
        ({"intensity": {"low": [1, 2], "high": [3, 4], "noise": [0, 0]}}, "intensities"),
        ({"intensity": {"low": [1, 2], "high": [3], "noise": [0]}}, "not complete"),
        ({"model": "nothing"}, "no model"),
        ({"tile": None}, "not complete"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(
    tmp_path: Path, source: Path, change: dict[str, object], match: str
) -> None:
    run("upscale", source, tmp_path / "a.tif", "--model", "cubic-2x2")
    record = read_image(tmp_path / "a.tif").record | change
    (tmp_path / "r.json").write_text(json.dumps(record))
    done = run("upscale", source, tmp_path / "b.tif", "--recipe", tmp_path / "r.json")
    assert done.exit_code == 1
    assert match in done.stderr
    assert not (tmp_path / "b.tif").exists()


def test_a_file_without_a_record_is_no_recipe(source: Path, tmp_path: Path) -> None:
    done = run("upscale", source, tmp_path / "b.tif", "--recipe", source)
    assert done.exit_code == 1
    assert "no result of napari-hrsr" in done.stderr
    (tmp_path / "r.json").write_text("{")
    assert (
        run("upscale", source, tmp_path / "b.tif", "--recipe", tmp_path / "r.json").exit_code == 1
    )
    (tmp_path / "r.json").write_text("[1]")
    assert (
        run("upscale", source, tmp_path / "b.tif", "--recipe", tmp_path / "r.json").exit_code == 1
    )


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["none.tif", "out.tif"], "there is no file"),
        (["source.ome.tif", "out.xyz"], "no suffix"),
        (["source.ome.tif", "nowhere/out.tif"], "does not exist"),
        (["source.ome.tif", "source.ome.tif", "--overwrite"], "replace its source"),
        (["source.ome.tif", "out.png"], "one plane"),
        (["source.ome.tif", "out.tif", "--model", "nothing"], "no model 'nothing'"),
        (["source.ome.tif", "out.tif", "--axes", "YX"], "the image has 3"),
        (["source.ome.tif", "out.tif", "--device", "abacus"], "abacus"),
        (["source.ome.tif", "out.tif", "--dtype", "int64"], "OME-TIFF cannot hold int64"),
    ],
)
def test_failures_are_one_line_and_exit_code_1(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], match: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = source.read_bytes()
    if "--model" not in arguments:
        arguments = [*arguments, "--model", "cubic-2x2"]
    done = run("upscale", *arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith("napari-hrsr: error: ")
    assert match in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert [p.name for p in tmp_path.iterdir()] == [source.name]
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    "wrong",
    [["--tile", "0"], ["--tile", "a"], ["--tile", "1,2,3,4"], ["--noise", "-1"], ["--noise", "x"],
     ["--dtype", "bool"], ["--dtype", "nothing"], ["--intensity", "pixel"], ["--nonsense"]],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(tmp_path: Path, source: Path, wrong: list[str]) -> None:
    assert run("upscale", source, tmp_path / "out.tif", *wrong).exit_code == 2


@pytest.mark.parametrize("name", ["out.tif", "out.ome.zarr"])
def test_existing_results_are_replaced_only_on_request(
    tmp_path: Path, source: Path, name: str
) -> None:
    write_image(tmp_path / name, np.ones((4, 4), np.uint8), METADATA_2D)
    refused = run("upscale", source, tmp_path / name, "--model", "cubic-2x2")
    assert refused.exit_code == 1
    assert f"{name} exists" in refused.stderr
    assert read_image(tmp_path / name).data.shape == (4, 4)
    done = run("upscale", source, tmp_path / name, "--model", "cubic-2x2", "--overwrite")
    assert done.exit_code == 0, done.output
    assert read_image(tmp_path / name).data.shape == (4, 40, 48)


METADATA_2D = ImageMetadata("YX", (1.0, 1.0), (0.0, 0.0), ("pixel", "pixel"))


def interrupted_at(number: int, monkeypatch: pytest.MonkeyPatch, signals: list[int]) -> None:
    """Raise signals when tile `number` has been written, whichever way a run goes."""
    from napari_hrsr import jobs, upscale_file
    from napari_hrsr.runs import computing

    start = jobs.start_job

    def interrupted(*arguments: object, **more: object) -> object:
        for record in start(*arguments, **more):
            if record.done == number:
                for each in signals:
                    signal.raise_signal(each)
            yield record

    monkeypatch.setattr(upscale_file, "start_job", interrupted)
    monkeypatch.setattr(computing, "start_job", interrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing_of_a_small_file(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = signal.getsignal(signal.SIGINT)
    interrupted_at(3, monkeypatch, [number])
    done = run("upscale", source, tmp_path / "out.tif", "--model", "cubic-2x2", "--tile", 4)
    assert done.exit_code == 130
    assert "cancelled" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == [source.name]
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT] * 2])
def test_ctrl_c_pauses_a_run_that_can_be_resumed(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, signals: list[int]
) -> None:
    out = tmp_path / "out.ome.zarr"
    arguments = ("upscale", source, out, "--model", "cubic-2x2", "--tile", 4)
    with monkeypatch.context() as once:
        interrupted_at(20, once, signals)
        done = run(*arguments)
    assert done.exit_code == 130
    assert not out.exists()
    if len(signals) == 1:
        assert "blocks are kept in out.ome.zarr.partial: go on with --resume" in done.stderr
    refused = run(*arguments)
    assert refused.exit_code == 1
    assert "--resume" in refused.stderr
    assert run("upscale", source, out, "--resume").exit_code == 0
    np.testing.assert_array_equal(np.asarray(read_image(out).data), upscale(stack(), "cubic-2x2"))
    assert {p.name for p in tmp_path.iterdir()} == {source.name, out.name}
    again = run("upscale", source, out, "--resume")
    assert again.exit_code == 0


def test_parts_on_the_command_line(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out.ome.zarr"
    arguments = ("upscale", source, out, "--model", "cubic-2x2", "--tile", 4, "--part")
    first = run(*arguments, "1/2")
    assert first.exit_code == 0
    assert "other parts are still missing" in first.stderr
    assert run(*arguments, "2/2").exit_code == 0
    np.testing.assert_array_equal(np.asarray(read_image(out).data), upscale(stack(), "cubic-2x2"))
    assert run(*arguments, "3/2").exit_code == 1
    assert run(*arguments, "1/2", "--workers", 2).exit_code == 1


def test_several_images_go_into_a_folder(tmp_path: Path, source: Path) -> None:
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, stack()[0])
    (tmp_path / "broken.tif").write_bytes(other.read_bytes()[:100])
    folder = tmp_path / "results"
    done = run("upscale", f"{tmp_path}/*.tif", f"{folder}/", "--model", "cubic-2x2")
    assert done.exit_code == 1
    assert "broken.tif: error:" in done.stderr
    assert "1 of 3 images failed; the others are done" in done.stderr
    assert {p.name for p in folder.iterdir()} == {"source.ome.tif", "other.tif"}
    np.testing.assert_array_equal(
        np.asarray(read_image(folder / "other.tif").data), upscale(stack()[0], "cubic-2x2")
    )
    (tmp_path / "broken.tif").unlink()
    again = run("upscale", f"{tmp_path}/*.tif", folder, "--model", "cubic-2x2", "--resume")
    assert again.exit_code == 0
    assert again.stderr.count("was there") == 2


def test_a_recipe_is_replayed_on_many_files(tmp_path: Path, source: Path) -> None:
    run("upscale", source, tmp_path / "a.ome.zarr", "--model", "linear-2x2")
    names = []
    for number in range(2):
        names.append(tmp_path / f"stack{number}.ome.tif")
        write_image(names[-1], stack(), METADATA)
    done = run(
        "upscale", *names, tmp_path / "out/", "--recipe", tmp_path / "a.ome.zarr",
        "--format", ".ome.zarr",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    for number in range(2):
        back = read_image(tmp_path / "out" / f"stack{number}.ome.zarr")
        assert back.record["model"] == "linear-2x2"
        np.testing.assert_array_equal(np.asarray(back.data), upscale(stack(), "linear-2x2"))


def test_results_that_would_meet_are_refused_before_any_work(tmp_path: Path, source: Path) -> None:
    write_image(tmp_path / "source.nii.gz", stack(), METADATA)
    folder = tmp_path / "results"
    done = run("upscale", source, tmp_path / "source.nii.gz", f"{folder}/", "--format", ".ome.zarr")
    assert done.exit_code == 1
    assert "would both be source.ome.zarr" in done.stderr
    assert run("upscale", tmp_path / "*.bmp", f"{folder}/").exit_code == 1
    assert run("upscale", source, f"{folder}/", "--format", ".bmp").exit_code == 1
    into_itself = run("upscale", source, tmp_path, "--model", "cubic-2x2", "--overwrite")
    assert "would replace its source" in into_itself.stderr


def test_models_as_a_table_and_as_json() -> None:
    table = run("models")
    assert table.exit_code == 0
    assert "cubic-2x2" in table.stdout
    facts = json.loads(run("models", "--json").stdout)
    assert [f["name"] for f in facts] == [spec.name for spec in list_models()]
    assert facts[-1]["scale"] == list(list_models()[-1].scale)


def test_help_and_models_import_neither_torch_nor_napari() -> None:
    code = """
import sys
from napari_hrsr.cli import app
for arguments in (["--help"], ["upscale", "--help"], ["models"], ["--version"]):
    try:
        app(arguments)
    except SystemExit as stop:
        assert not stop.code, stop.code
loaded = {name for name in ("torch", "napari", "qtpy", "zarr", "tifffile") if name in sys.modules}
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "upscale" in done.stdout


def test_demo_without_a_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "s.tif", stack()[0], METADATA_2D)
    monkeypatch.setattr("napari_hrsr.headless_demo.sample_path", lambda name: tmp_path / "s.tif")
    monkeypatch.setattr("napari_hrsr.jobs.default_model", lambda ndim: "lanczos-2x2")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # a second demonstration replaces the first
        done = run("demo")
        assert done.exit_code == 0, done.output
    result = read_image(tmp_path / "demo-output" / "result.ome.tif")
    np.testing.assert_array_equal(np.asarray(result.data), upscale(stack()[0], "lanczos-2x2"))
    picture = read_image(tmp_path / "demo-output" / "comparison.png")
    assert picture.data.shape[1] > 3 * 20 * 8
    assert str(Path("demo-output", "comparison.png")) in done.stdout


def test_demo_with_a_display_starts_napari(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr("subprocess.call", lambda command: calls.append(command) or 7)
    monkeypatch.setattr(os, "environ", {**os.environ, "DISPLAY": ":0"})
    assert run("demo").exit_code == 7
    assert calls == [[sys.executable, "-m", "napari_hrsr._napari.demo"]]


def test_the_comparison_shows_the_same_detail() -> None:
    coarse = np.zeros((100, 120))
    coarse[70:80, 30:40] = np.random.default_rng(0).random((10, 10))
    top, left, side = interesting_crop(coarse)
    assert side == 64
    assert top <= 70
    assert top + side >= 80
    assert left <= 30
    assert left + side >= 40
    fine = coarse.repeat(2, 0).repeat(2, 1)
    picture = np.asarray(draw_comparison({"source": coarse, "result": fine}))
    panels = picture[36:, : 64 * 8], picture[36:, 64 * 8 + 8 :]
    np.testing.assert_array_equal(*panels)
    assert (picture[:36] < 128).any()


def test_read_recipe_returns_what_was_used(tmp_path: Path, source: Path) -> None:
    run("upscale", source, tmp_path / "a.nii.gz", "--model", "cubic-2x2x2", "--tile", 10)
    recipe = read_recipe(tmp_path / "a.nii.gz")
    assert (recipe.model, recipe.axes, recipe.tile) == ("cubic-2x2x2", "ZYX", (4, 10, 8))
    assert recipe.region_for((4, 20, 24)) == (None, None, None)
