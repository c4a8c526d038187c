"""Runs that are stopped, changed, damaged, and gone on with."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_hrsr import upscale
from napari_hrsr.errors import InputError, OutputError, PausedError, ResumeError
from napari_hrsr.file_planning import Settings
from napari_hrsr.files import read_image, write_image
from napari_hrsr.forward import Instrument
from napari_hrsr.metadata import ImageMetadata
from napari_hrsr.runs import computing
from napari_hrsr.runs.locks import held
from napari_hrsr.runs.manifest import FILE
from napari_hrsr.runs.units import Part
from napari_hrsr.upscale_file import Execution, upscale_file
from napari_hrsr.upscale_part import upscale_part

TILES = 2 * 7 * 5
SETTINGS = Settings(model="cubic-2x2", tile=8)
RESUME = Execution(resume=True)


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 60_000, (2, 50, 40)).astype(np.uint16)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.ome.zarr"
    metadata = ImageMetadata("CYX", (1.0, 0.5, 0.5), (0.0, 1.0, 2.0), ("pixel",) * 3)
    write_image(path, image(), metadata)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    return tmp_path / "results" / "out.ome.zarr"


def tree(path: Path) -> dict[str, str]:
    files = (p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def unbroken(source: Path, tmp_path: Path, settings: Settings = SETTINGS) -> dict[str, str]:
    (tmp_path / "unbroken").mkdir()
    upscale_file(source, tmp_path / "unbroken" / "out.ome.zarr", settings)
    return tree(tmp_path / "unbroken" / "out.ome.zarr")


def stop_after(tiles: int) -> tuple[Callable[[str, int, int], None], Callable[[], bool]]:
    """Report and poll of a user who cancels after some tiles."""
    asked = threading.Event()

    def report(what: str, done: int, total: int) -> None:
        if what == "Upscaling" and done >= tiles:
            asked.set()

    return report, asked.is_set


def interrupt(source: Path, target: Path, settings: Settings = SETTINGS, tiles: int = 5) -> Path:
    report, cancelled = stop_after(tiles)
    with pytest.raises(PausedError, match=r"blocks are kept in .*: go on with --resume"):
        upscale_file(source, target, settings, report=report, cancelled=cancelled)
    assert not target.exists()
    return target.with_name(target.name + ".partial")


def kept_tiles(folder: Path, markers: Callable[[Path], bool] = lambda path: True) -> set[int]:
    size = json.loads((folder / "run.json").read_text())["unit"]
    units = [json.loads(p.read_text())["unit"] for p in (folder / "done").iterdir() if markers(p)]
    return {tile for unit in units for tile in range(unit * size, (unit + 1) * size)}


def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Take note of the tiles that are computed from now on."""
    tiles: list[int] = []
    start = computing.start_job

    def noted(*arguments: Any, **more: Any) -> Any:
        for record in start(*arguments, **more):
            tiles.append(record.index)
            yield record

    monkeypatch.setattr(computing, "start_job", noted)
    return tiles


def test_a_cancelled_run_goes_on_where_it_stopped(
    source: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = interrupt(source, target)
    with pytest.raises(InputError, match=r"no single image|without an image|incomplete|no Zarr"):
        read_image(folder)
    kept = kept_tiles(folder)
    again = computed(monkeypatch)
    record = upscale_file(source, target, SETTINGS, execution=RESUME)
    assert kept
    assert not kept & set(again)
    assert kept | set(again) == set(range(TILES))
    assert tree(target) == unbroken(source, tmp_path)
    np.testing.assert_array_equal(
        np.asarray(read_image(target).data), np.asarray(zarr.open_array(target / "0"))
    )
    np.testing.assert_array_equal(
        np.asarray(read_image(target).data), upscale(image(), "cubic-2x2", axes="CYX")
    )
    assert record == read_image(target).record
    assert [p.name for p in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize(
    "settings",
    [
        Settings(model="general-2d-x2", tile=8, consistent=Instrument((0.7,))),
        Settings(model="general-2d-x2", tile=8, noise=40.0, intensity="image", dtype="float32"),
        Settings(model="general-2d-x2", tile=8, precision="bfloat16"),
        Settings(model=["denoise-2d", "general-2d-x2"], tile=12),
    ],
    ids=["consistent", "noise", "bfloat16", "chain"],
)
def test_what_was_measured_is_not_measured_again(
    source: Path, target: Path, tmp_path: Path, settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    interrupt(source, target, settings, tiles=2)
    expected = unbroken(source, tmp_path, settings)

    def refuse(*arguments: Any, **more: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("napari_hrsr.api.measure_intensity", refuse)
    monkeypatch.setattr("napari_hrsr.projection_weight._measure", refuse)
    upscale_file(source, target, Settings(), execution=RESUME)
    assert tree(target) == expected


def test_colours_and_their_opacity_go_on_too(tmp_path: Path, target: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (40, 50, 4)).astype(np.uint8)
    path = tmp_path / "colours.png"
    write_image(path, pixels, ImageMetadata("YXS", (1.0,) * 3, (0.0,) * 3, ("pixel",) * 3))
    interrupt(path, target, tiles=3)
    upscale_file(path, target, SETTINGS, execution=RESUME)
    assert tree(target) == unbroken(path, tmp_path)


def test_formats_written_at_once_are_resumed_as_well(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_hrsr.upscale_file._LARGE", 0)
    target = tmp_path / "out.ome.tif"
    interrupt(source, target)
    again = computed(monkeypatch)
    upscale_file(source, target, Settings(), execution=RESUME)
    assert 0 < len(again) < TILES
    np.testing.assert_array_equal(
        np.asarray(read_image(target).data), upscale(image(), "cubic-2x2", axes="CYX")
    )
    assert not target.with_name("out.ome.tif.partial").exists()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (Settings(model="linear-2x2", tile=8), r"the model \(cubic-2x2 then, linear-2x2 now\)"),
        (Settings(tile=(8, 20)), r"the tile \(8 then, 8, 20 now\)"),
        (Settings(noise=3.0), r"the noise \(left open then, 3.0 now\)"),
        (Settings(dtype="float32"), "the data type of the result"),
        (Settings(consistent=Instrument()), "what the result is held to"),
    ],
)
def test_other_choices_are_refused_by_name(
    source: Path, target: Path, changed: Settings, told: str
) -> None:
    folder = interrupt(source, target)
    before = tree(folder)
    with pytest.raises(OutputError, match=told):
        upscale_file(source, target, changed, execution=RESUME)
    assert tree(folder) == before


def test_a_changed_source_is_refused(source: Path, target: Path) -> None:
    interrupt(source, target)
    array = zarr.open_array(source / "0", mode="r+")
    array[1, 30, 30] = 7
    with pytest.raises(OutputError, match=r"source\.ome\.zarr is not what it was: .*modified"):
        upscale_file(source, target, SETTINGS, execution=RESUME)


def test_a_changed_model_is_refused(source: Path, target: Path, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    from napari_hrsr.models.catalog import find_spec
    from napari_hrsr.models.load import WEIGHTS_FOLDER

    weights = find_spec("general-2d-x2").weights
    assert weights is not None
    with safe_open(WEIGHTS_FOLDER / weights.file, "pt") as opened:
        described = opened.metadata()
    tensors = load_file(WEIGHTS_FOLDER / weights.file)
    model = tmp_path / "own.safetensors"
    save_file(tensors, model, described)
    settings = Settings(model=str(model), tile=8)
    interrupt(source, target, settings)
    first = next(iter(tensors))
    save_file(tensors | {first: tensors[first] + 1e-3}, model, described)
    with pytest.raises(ResumeError, match="weights of model"):
        upscale_file(source, target, settings, execution=RESUME)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text.replace('"format": ', '"format": 9'), "begun by another version"),
        (lambda text: text[: len(text) // 2], "cannot be read"),
    ],
)
def test_a_run_that_cannot_be_gone_on_with_is_begun_anew_only_on_request(
    source: Path, target: Path, damage: Callable[[str], str], told: str
) -> None:
    manifest = interrupt(source, target) / FILE
    manifest.write_text(damage(manifest.read_text()))
    with pytest.raises(ResumeError, match=rf"{told}.*with --restart$"):
        upscale_file(source, target, SETTINGS, execution=RESUME)
    upscale_file(source, target, SETTINGS, execution=Execution(restart=True))
    assert tree(target) == unbroken(source, target.parent)


def test_an_unfinished_run_is_thrown_away_only_on_request(
    source: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(source, target)
    with pytest.raises(OutputError, match=r"unfinished run .* with --resume, or .* --restart"):
        upscale_file(source, target, SETTINGS)
    again = computed(monkeypatch)
    settings = Settings(model="linear-2x2", tile=8)
    upscale_file(source, target, settings, execution=Execution(restart=True))
    assert len(again) == TILES
    assert tree(target) == unbroken(source, tmp_path, settings)


def test_a_complete_result_is_left_as_it_is(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = upscale_file(source, target, SETTINGS, execution=RESUME)
    before = tree(target)
    again = computed(monkeypatch)
    assert upscale_file(source, target, SETTINGS, execution=RESUME) == record
    assert again == []
    assert tree(target) == before


@pytest.mark.parametrize("damage", ["flipped", "torn", "missing", "record"])
def test_what_is_damaged_is_computed_again(
    source: Path, target: Path, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = interrupt(source, target)
    marker = min((folder / "done").iterdir())
    entry = json.loads(marker.read_text())
    lost = kept_tiles(folder, lambda path: path == marker)
    chunk = folder / "image.zarr" / next(iter(entry["files"]))
    content = bytearray(chunk.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
        chunk.write_bytes(content)
    elif damage == "torn":
        chunk.write_bytes(content[: len(content) // 2])
    elif damage == "missing":
        chunk.unlink()
    else:
        marker.write_text(marker.read_text()[:20])
    again = computed(monkeypatch)
    upscale_file(source, target, SETTINGS, execution=RESUME)
    assert lost <= set(again)
    assert tree(target) == unbroken(source, tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_disk_that_fails_is_told_and_the_run_goes_on_later(
    source: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    from zarr.storage import _local

    put, written = _local._put, []

    def fill(path: Path, *more: Any, **others: Any) -> int:
        if "c" in path.parts:
            written.append(path)
            if len(written) > 40:
                raise OSError(number, os.strerror(number))
        return put(path, *more, **others)

    with monkeypatch.context() as full:
        full.setattr(_local, "_put", fill)
        with pytest.raises(OutputError, match=rf"{os.strerror(number)}.*blocks are kept.*--resume"):
            upscale_file(source, target, SETTINGS)
    assert not target.exists()
    upscale_file(source, target, SETTINGS, execution=RESUME)
    assert tree(target) == unbroken(source, tmp_path)


def test_a_second_run_on_the_same_result_is_refused(source: Path, target: Path) -> None:
    folder = interrupt(source, target)
    before = tree(folder)
    with held(folder, "run"):
        for execution in (Execution(), RESUME, Execution(restart=True)):
            with pytest.raises(OutputError, match="written by another run"):
                upscale_file(source, target, SETTINGS, execution=execution)
        with pytest.raises(OutputError, match="written by another run"):
            upscale_part(source, target, SETTINGS, Part(1, 2))
    assert tree(folder) == before


def test_a_folder_of_somebody_else_is_not_touched(source: Path, target: Path) -> None:
    folder = target.with_name(target.name + ".partial")
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    for execution in (Execution(), RESUME, Execution(restart=True)):
        with pytest.raises(OutputError, match=r"holds thesis\.txt"):
            upscale_file(source, target, SETTINGS, execution=execution)
    assert (folder / "thesis.txt").read_text() == "mine"


def test_parts_that_start_at_once_give_the_bytes_of_one_run(
    source: Path, target: Path, tmp_path: Path
) -> None:
    barrier = threading.Barrier(3)
    records: list[Any] = []

    def work(number: int) -> None:
        barrier.wait(60)
        records.append(upscale_part(source, target, SETTINGS, Part(number, 3)))

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(records) == 3
    assert [record for record in records if record] == [read_image(target).record]
    assert tree(target) == unbroken(source, tmp_path)
    assert [p.name for p in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("moment", ["check_paths", "compute_missing", "finish_file"])
def test_a_part_that_comes_late_finds_the_result(
    source: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    from napari_hrsr import upscale_part as module

    for number in (1, 2):
        assert upscale_part(source, target, SETTINGS, Part(number, 3)) is None
    real = getattr(module, moment)

    def overtaken(*arguments: Any, **more: Any) -> Any:
        """Another part ends the run meanwhile."""
        monkeypatch.setattr(module, moment, real)
        if moment == "finish_file":
            finished.append(real(*arguments, **more))
        else:
            finished.append(upscale_part(source, target, SETTINGS, Part(3, 3)))
        return real(*arguments, **more)

    finished: list[Any] = []
    monkeypatch.setattr(module, moment, overtaken)
    number = 3 if moment == "finish_file" else 1
    assert upscale_part(source, target, SETTINGS, Part(number, 3)) == finished[0]
    assert finished[0] == read_image(target).record
    assert tree(target) == unbroken(source, tmp_path)
    assert [p.name for p in target.parent.iterdir()] == [target.name]


def test_a_part_that_is_missing_can_be_computed_by_any_run(
    source: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert upscale_part(source, target, SETTINGS, Part(1, 3)) is None
    assert upscale_part(source, target, SETTINGS, Part(1, 3)) is None
    assert upscale_part(source, target, SETTINGS, Part(3, 3)) is None
    with pytest.raises(OutputError, match="the tile"):
        upscale_part(source, target, Settings(tile=20), Part(2, 3))
    again = computed(monkeypatch)
    upscale_file(source, target, Settings(), execution=RESUME)
    assert sorted(again) == [*range(16, 32), *range(64, 70)]
    assert tree(target) == unbroken(source, tmp_path)


def test_nothing_is_left_of_a_run_that_wrote_nothing(source: Path, target: Path) -> None:
    with pytest.raises(Exception, match="cancelled"):
        upscale_file(source, target, SETTINGS, cancelled=lambda: True)
    bad = source.parent / "bad.ome.zarr"
    pixels = image().astype(np.float32)
    pixels[1, 4, 5] = np.nan
    write_image(bad, pixels, read_image(source).metadata)
    with pytest.raises(InputError):
        upscale_file(bad, target, SETTINGS)
    assert list(target.parent.iterdir()) == []


def test_no_path_and_no_machine_is_named_in_a_result(source: Path, target: Path) -> None:
    import socket

    interrupt(source, target)
    upscale_file(source, target, SETTINGS, execution=RESUME)
    texts = [p.read_text() for p in target.rglob("*.json")]
    assert not any(str(source.parent) in text or socket.gethostname() in text for text in texts)


def test_chunks_that_share_files_are_resumed_byte_for_byte(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_hrsr.jobs._MANY_FILES", 0)
    volume = np.random.default_rng(2).integers(0, 9000, (70, 30, 20)).astype(np.uint16)
    path = tmp_path / "volume.ome.zarr"
    write_image(path, volume, ImageMetadata("ZYX", (1.0,) * 3, (0.0,) * 3, ("pixel",) * 3))
    settings = Settings(model="cubic-2x2x2", tile=(35, 5, 5))
    folder = interrupt(path, target, settings, tiles=16)
    array = zarr.open_array(folder / "image.zarr" / "0", mode="r")
    assert (array.shards, array.chunks) == ((70, 10, 10), (14, 10, 10))
    upscale_file(path, target, Settings(), execution=RESUME)
    assert tree(target) == unbroken(path, tmp_path, settings)
    expected = upscale(volume, "cubic-2x2x2")
    np.testing.assert_array_equal(np.asarray(read_image(target).data), expected)
    files = [p for p in (target / "0").rglob("*") if p.name != "zarr.json" and p.is_file()]
    assert len(files) == 2 * 6 * 4
    files[7].unlink()
    with pytest.raises(InputError, match="chunks are missing"):
        read_image(target)
