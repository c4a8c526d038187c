import subprocess
import sys

import numpy as np
import pytest
import tifffile

from napari_hrsr._napari import samples as contributed
from napari_hrsr.errors import InputError
from napari_hrsr.samples import SAMPLES, read_sample, sample_path


def test_there_is_a_plane_and_a_volume():
    assert set(SAMPLES) == {"cells", "volume"}
    assert len(SAMPLES["cells"].axes) == 2
    assert len(SAMPLES["volume"].axes) == 3


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_sample_is_a_real_image_with_a_licence(name):
    sample = SAMPLES[name]
    pixels = read_sample(name)
    assert sample.name == name
    assert pixels.ndim == len(sample.axes) == len(sample.scale)
    assert pixels.dtype in (np.uint8, np.uint16)
    assert pixels.std() > 0
    assert sample.licence
    assert sample.source.startswith("https://")
    attribution = sample_path(name).with_name("ATTRIBUTION.md").read_text(encoding="utf-8")
    assert f"## {sample.file}" in attribution
    assert sample.source in attribution


def test_the_files_say_the_same_voxel_size():
    with tifffile.TiffFile(sample_path("cells")) as tif:
        assert tif.series[0].axes == SAMPLES["cells"].axes
        assert 'PhysicalSizeX="0.13249" PhysicalSizeXUnit="µm"' in tif.ome_metadata
    with tifffile.TiffFile(sample_path("volume")) as tif:
        assert tif.series[0].axes == SAMPLES["volume"].axes
        assert "PhysicalSize" not in tif.ome_metadata


def test_the_samples_are_small():
    files = sample_path("cells").parent.iterdir()
    assert sum(file.stat().st_size for file in files) < 3_000_000


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="cells, volume"):
        sample_path("moon")


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_napari_shows_voxel_size_name_and_attribution(name):
    from napari.layers import Image

    sample = SAMPLES[name]
    [(data, attributes, kind)] = getattr(contributed, name)()
    assert kind == "image"
    layer = Image(data, **attributes)
    assert layer.name == sample.title
    np.testing.assert_allclose(layer.scale, sample.scale)
    assert [str(unit) for unit in layer.units] == [sample.units] * len(sample.axes)
    assert layer.axis_labels == tuple(sample.axes.lower())
    assert layer.metadata["attribution"] == sample.attribution
    assert layer.metadata["licence"] == sample.licence


def test_samples_need_neither_torch_nor_napari_nor_qt():
    code = (
        "import sys, napari_hrsr._napari.samples as s; s.cells();"
        "print([m for m in ('torch', 'napari', 'qtpy', 'magicgui') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
