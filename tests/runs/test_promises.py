"""What every run keeps to: the same bytes in any order, sources untouched, folders private."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from napari_hrsr.errors import CancelledError, OutputError
from napari_hrsr.file_planning import Settings
from napari_hrsr.files import read_image, write_image
from napari_hrsr.metadata import ImageMetadata
from napari_hrsr.runs.computing import run_unit
from napari_hrsr.runs.stored import StoredRun
from napari_hrsr.upscale_file import Execution, upscale_file

METADATA = ImageMetadata("ZYX", (1.0, 0.5, 0.5), (0.0, 1.0, 2.0), ("micrometer",) * 3)


def volume() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 60_000, (3, 50, 40)).astype(np.uint16)


def content(path: Path) -> dict[str, tuple[str, int]]:
    files = (p for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file())
    return {
        str(p.relative_to(path)): (
            hashlib.sha256(p.read_bytes()).hexdigest(),
            p.stat().st_mtime_ns,
        )
        for p in files
    }


def bytes_of(path: Path) -> dict[str, str]:
    return {name: digest for name, (digest, _) in content(path).items()}


def test_neither_order_nor_threads_change_a_byte(tmp_path: Path) -> None:
    source = tmp_path / "source.ome.tif"
    write_image(source, volume(), METADATA)
    settings = Settings(model="general-2d-x2", tile=12)

    def shuffled(
        run: StoredRun, units: list[int], add: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> None:
        assert len(units) > 2
        for unit in np.random.default_rng(1).permutation(units):
            add(run_unit(run, int(unit)).tiles)

    before = torch.get_num_threads()
    results = []
    try:
        for name, threads, way in (
            ("one", 1, Execution()),
            ("two", 2, Execution()),
            ("any order", 1, Execution(compute=shuffled)),
        ):
            torch.set_num_threads(threads)
            (tmp_path / name).mkdir()
            target = tmp_path / name / "out.ome.zarr"
            upscale_file(source, target, settings, execution=way)
            results.append(bytes_of(target))
    finally:
        torch.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr", ".nii.gz"])
def test_sources_are_not_touched(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"source{suffix}"
    write_image(source, volume(), METADATA)
    before = content(source)
    target = tmp_path / "out.ome.zarr"
    settings = Settings(model="cubic-2x2", tile=12)
    asked: list[int] = []

    def report(what: str, done: int, total: int) -> None:
        if what == "Upscaling" and done:
            asked.append(done)

    with pytest.raises(CancelledError):
        upscale_file(source, target, settings, report=report, cancelled=lambda: bool(asked))
    upscale_file(source, target, settings, execution=Execution(resume=True))
    assert read_image(target).data.shape == (3, 100, 80)
    assert content(source) == before


@pytest.mark.skipif(os.name == "nt", reason="permissions are of another kind there")
def test_an_unfinished_run_is_private_and_a_result_is_not(tmp_path: Path) -> None:
    source, target = tmp_path / "source.ome.tif", tmp_path / "out.ome.zarr"
    write_image(source, volume(), METADATA)
    seen: set[int] = set()

    def report(what: str, done: int, total: int) -> None:
        if what == "Upscaling":
            seen.add((tmp_path / "out.ome.zarr.partial").stat().st_mode & 0o777)

    mask = os.umask(0o022)
    try:
        upscale_file(source, target, Settings(model="cubic-2x2x2"), report=report)
    finally:
        os.umask(mask)
    assert seen == {0o700}
    modes = {p.stat().st_mode & 0o777 for p in (target, *target.rglob("*"))}
    assert modes == {0o755, 0o644}


def test_a_volume_beyond_every_disk_is_refused_at_once(tmp_path: Path) -> None:
    side = 10**5
    source = tmp_path / "huge.zarr"
    zarr.create_array(source, shape=(side,) * 3, chunks=(64,) * 3, dtype="u2")
    settings = Settings(model="nearest-16x16x16", axes="ZYX")
    tracemalloc.start()
    try:
        with pytest.raises(OutputError, match=r"needs up to 10977280000\.0 GB"):
            upscale_file(source, tmp_path / "out.ome.zarr", settings)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50e6
    assert [p.name for p in tmp_path.iterdir()] == [source.name]
