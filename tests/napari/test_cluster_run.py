"""A layer upscaled by the workers of a scheduler, from the widget."""

import numpy as np
import pytest

from napari_hrsr import upscale
from napari_hrsr._napari import controller as controller_module
from napari_hrsr._napari.widget import SuperResolution2D
from napari_hrsr.files import read_image

distributed = pytest.importorskip("distributed")

pytestmark = [
    # Of sockets and loops that dask leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def address():
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, host="127.0.0.1",
        dashboard_address="127.0.0.1:0", memory_limit=0, protocol="tcp",
    ) as started:  # fmt: skip
        yield started.scheduler_address


@pytest.fixture
def errors(monkeypatch):
    shown = []
    monkeypatch.setattr(controller_module, "show_error", shown.append)
    return shown


@pytest.fixture
def widget(make_napari_viewer_proxy, address, tmp_path, monkeypatch):
    viewer = make_napari_viewer_proxy()
    image = np.random.default_rng(0).integers(0, 4000, (90, 70)).astype(np.uint16)
    viewer.add_image(image, name="cells", scale=(0.5, 0.25), translate=(3, -1), units="um")
    widget = SuperResolution2D(viewer)
    viewer.window.add_dock_widget(widget)
    widget.model.value = "cubic-2x2"
    widget.details.tile.value = "16"
    widget.details.scheduler.value = address
    monkeypatch.setattr(
        SuperResolution2D, "ask_path", lambda self, layer, size: tmp_path / "out.ome.zarr"
    )
    return widget


def run(widget, qtbot):
    assert widget.run()
    qtbot.wait_until(lambda: not widget.controller.running, timeout=60_000)


def test_the_result_is_that_of_this_computer_and_lies_on_its_source(
    widget, qtbot, tmp_path, errors
):
    run(widget, qtbot)
    assert errors == []
    source, result = widget._viewer.layers
    expected = upscale(source.data, "cubic-2x2")
    level = result.data[0] if result.multiscale else result.data
    np.testing.assert_array_equal(np.asarray(level), expected)
    np.testing.assert_allclose(result.scale, (0.25, 0.125))
    np.testing.assert_allclose(result.translate, (3 - 0.125, -1 - 0.0625))
    assert result.metadata["napari_hrsr"]["model"] == "cubic-2x2"
    back = read_image(tmp_path / "out.ome.zarr")
    np.testing.assert_allclose(back.metadata.scale, (0.25, 0.125))
    assert [p.name for p in tmp_path.iterdir()] == ["out.ome.zarr"]


def test_a_region_is_computed_too(widget, qtbot, errors):
    request = widget.request(widget.layer.value)
    request.options["region"] = [(10, 40), (8, 60)]
    assert widget.controller.start([request], [widget.layer.value])
    qtbot.wait_until(lambda: not widget.controller.running, timeout=60_000)
    assert errors == []
    source, result = widget._viewer.layers
    level = result.data[0] if result.multiscale else result.data
    whole = upscale(source.data, "cubic-2x2")
    np.testing.assert_array_equal(np.asarray(level), whole[20:80, 16:120])


@pytest.mark.parametrize("keep", [False, True])
def test_cancel_discards_or_keeps_what_workers_wrote(widget, qtbot, tmp_path, errors, keep):
    def stop(done, total, text):
        if done:
            widget.controller.cancel(keep=keep)

    widget.details.tile.value = "4"
    widget.controller.progressed.connect(stop)
    run(widget, qtbot)
    assert [layer.name for layer in widget._viewer.layers] == ["cells"]
    names = {p.name for p in tmp_path.iterdir()}
    if keep:
        assert names == {"out.ome.zarr.partial", ".out.ome.zarr.source.ome.zarr"}
        assert "--resume" in errors[0]
    else:
        assert names == set()
        assert errors == []


def test_a_scheduler_elsewhere_without_encryption_is_refused(widget, qtbot, tmp_path, errors):
    widget.details.scheduler.value = "tcp://10.255.255.1:8786"
    run(widget, qtbot)
    assert "not encrypted" in errors[0]
    assert list(tmp_path.iterdir()) == []
