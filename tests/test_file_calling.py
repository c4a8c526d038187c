from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

import napari_hrsr
from napari_hrsr.errors import InputError, PausedError
from napari_hrsr.files import read_image, write_image
from napari_hrsr.metadata import ImageMetadata


@pytest.fixture
def source(tmp_path: Path) -> Path:
    image = np.random.default_rng(0).integers(0, 60_000, (70, 60)).astype(np.uint16)
    path = tmp_path / "source.ome.tif"
    write_image(path, image, ImageMetadata("YX", (0.5, 0.5), (1.0, 2.0), ("micrometer",) * 2))
    return path


def test_a_file_is_paused_and_resumed_from_python(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "out.ome.zarr"
    stop = threading.Event()
    counts: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        counts.append((done, total))
        if done:
            stop.set()

    with pytest.raises(PausedError):
        napari_hrsr.upscale_to_file(
            source, target, "cubic-2x2", tile=6, progress=progress, cancelled=stop
        )
    assert counts[0] == (0, 120)
    record = napari_hrsr.upscale_to_file(source, target, resume=True)
    assert record is not None
    assert record["model"] == "cubic-2x2"
    np.testing.assert_array_equal(
        np.asarray(read_image(target).data),
        napari_hrsr.upscale(np.asarray(read_image(source).data), "cubic-2x2"),
    )


def test_a_region_and_parts(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "out.ome.zarr"
    wishes = {"tile": 6, "region": [(10, 50), None]}
    first = napari_hrsr.upscale_to_file(source, target, "cubic-2x2", part="1/2", **wishes)
    assert first is None
    second = napari_hrsr.upscale_to_file(source, target, "cubic-2x2", part="2/2", **wishes)
    assert second is not None
    whole = napari_hrsr.upscale(np.asarray(read_image(source).data), "cubic-2x2")
    back = read_image(target)
    np.testing.assert_array_equal(np.asarray(back.data), whole[20:100])
    np.testing.assert_allclose(back.metadata.translate, (1 + 10 * 0.5 - 0.125, 2 - 0.125))


def test_wishes_that_exclude_each_other_are_refused(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "out.ome.zarr"
    for wrong in ({"part": "1/2", "workers": 2}, {"workers": 2, "scheduler": "tcp://127.0.0.1:1"},
                  {"noise": "much"}, {"part": "1/2", "restart": True}):  # fmt: skip
        with pytest.raises(InputError):
            napari_hrsr.upscale_to_file(source, target, "cubic-2x2", **wrong)
    assert [p.name for p in tmp_path.iterdir()] == [source.name]
