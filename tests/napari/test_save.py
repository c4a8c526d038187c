"""Saving a layer from napari with its voxel size and origin."""

import numpy as np
import pytest

from napari_hrsr import upscale_layer
from napari_hrsr._napari import save as save_module
from napari_hrsr._napari.save import save_layer
from napari_hrsr.files import read_image


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr", ".nii.gz"])
def test_saved_file_lies_where_the_layer_lies(
    make_napari_viewer_proxy, qtbot, tmp_path, monkeypatch, suffix
):
    told = []
    monkeypatch.setattr(save_module, "show_info", told.append)
    viewer = make_napari_viewer_proxy()
    source = viewer.add_image(
        np.arange(4 * 20 * 16, dtype=np.int16).reshape(4, 20, 16),
        scale=(2, 0.5, 0.25),
        translate=(10, 20, 30),
        units=("mm", "mm", "mm"),
        axis_labels=("z", "y", "x"),
    )
    data, attributes, _ = upscale_layer(source, "cubic-2x2x2")
    result = viewer.add_image(data, **attributes)
    path = tmp_path / f"result{suffix}"
    assert save_layer(result, path=path) is not None
    qtbot.wait_until(lambda: bool(told), timeout=30_000)
    assert told == [f"Saved {path.name}"]
    saved = read_image(path)
    np.testing.assert_array_equal(np.asarray(saved.data[...]), data)
    np.testing.assert_allclose(saved.metadata.scale, (1, 0.25, 0.125), rtol=1e-6)
    expected = (10 - 0.5, 20 - 0.125, 30 - 0.0625)
    if suffix == ".nii.gz":
        np.testing.assert_allclose(saved.metadata.affine[:3, 3], expected[::-1], rtol=1e-6)
    else:
        np.testing.assert_allclose(saved.metadata.translate, expected, rtol=1e-6)
    assert saved.record["model"] == "cubic-2x2x2"


def test_failure_is_told_and_leaves_nothing(make_napari_viewer_proxy, qtbot, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(save_module, "show_error", told.append)
    viewer = make_napari_viewer_proxy()
    layer = viewer.add_image(np.zeros((8, 8), np.uint8))
    assert save_layer(layer, path=tmp_path / "missing folder" / "result.ome.tif") is not None
    qtbot.wait_until(lambda: bool(told), timeout=30_000)
    assert "result.ome.tif" in told[0]
    assert list(tmp_path.iterdir()) == []
