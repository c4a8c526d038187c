"""Files are read in parts, kept while there is room, and never all open at once."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tifffile

from napari_hrsr.errors import InputError
from napari_hrsr.training import file_pixels
from napari_hrsr.training.file_pixels import FileCache, FilePixels


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{i}.tif" for i in range(6)]
    for i, path in enumerate(paths):
        tifffile.imwrite(path, np.full((50, 40), i, np.uint16), compression="deflate")
    return paths


def test_the_cache_is_bounded(files):
    cache = FileCache(3 * 50 * 40 * 2)
    pixels = [FilePixels(path, cache) for path in files]
    for i in [0, 1, 2, 3, 4, 5, 0, 3]:
        assert int(pixels[i][2:4, 3:5].max()) == i
        assert len(cache) <= 3
    assert pixels[0].shape == (50, 40)
    assert pixels[0].dtype == np.uint16


def test_what_was_used_last_is_kept(files, monkeypatch):
    cache = FileCache(2 * 50 * 40 * 2)
    first, second, third = (FilePixels(path, cache) for path in files[:3])
    first[0:1, 0:1]
    third[0:1, 0:1]

    def refuse(path):
        raise AssertionError(path)

    monkeypatch.setattr(file_pixels, "read_image", refuse)
    assert first[0:1, 0:1] == 0
    assert third[0:1, 0:1] == 2
    with pytest.raises(AssertionError):
        second[0:1, 0:1]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files of Linux")
def test_large_files_are_not_all_open(files, monkeypatch):
    monkeypatch.setattr(file_pixels, "KEPT_DECODED", 100)
    before = len(os.listdir("/proc/self/fd"))
    cache = FileCache(1000, open_files=2)
    pixels = [FilePixels(path, cache) for path in files]
    assert [int(p[49, 39]) for p in pixels] == list(range(6))
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_a_larger_file_than_the_cache_is_kept_alone(files):
    cache = FileCache(10)
    first, second = FilePixels(files[0], cache), FilePixels(files[1], cache)
    assert second[0, 0] == 1
    assert first[0, 0] == 0
    assert len(cache) == 1


def test_a_file_that_changes_its_shape_says_so(files):
    pixels = FilePixels(files[0], FileCache(10**6))
    tifffile.imwrite(files[0], np.zeros((20, 20), np.uint16))
    with pytest.raises(InputError, match="changed"):
        pixels[0:1, 0:1]
    files[0].unlink()
    with pytest.raises(InputError, match="gone"):
        pixels[0:1, 0:1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_opens_files_anew(files, monkeypatch):
    monkeypatch.setattr(file_pixels, "KEPT_DECODED", 100)
    cache = FileCache(10**6)
    pixels = FilePixels(files[3], cache)
    cache._after_fork()
    assert len(cache) == 0
    assert pixels[1, 1] == 3
