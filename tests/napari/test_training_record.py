"""What the window reads of a run folder."""

import numpy as np
import pytest

from napari_hrsr._napari.training_record import (
    CROP,
    crop_alike,
    read_comparison,
    read_measurements,
    read_pictures,
    read_run,
)
from napari_hrsr.training.config import ModelSettings, TrainingConfig
from napari_hrsr.training.run_folder import RunFolder
from napari_hrsr.training.validation import Comparison


def comparison(spatial, factor, colours=0):
    """Images in which every pixel says where it is, and one corner is telling."""
    lead = (colours,) if colours else ()
    fine = np.linspace(0, 1, int(np.prod(spatial)), dtype=np.float32).reshape(spatial)
    fine = np.broadcast_to(fine, lead + spatial).copy()
    window = tuple(slice(None, None, k) for k in factor)
    coarse = fine[(..., *window)]
    cubic = fine.copy()
    cubic[..., -8:, -8:] += 0.5
    return Comparison("image", coarse, cubic, fine, fine, colour=bool(colours))


@pytest.mark.parametrize(
    ("spatial", "factor", "colours"),
    [((200, 240), (2, 2), 0), ((64, 300), (3, 3), 0), ((200, 240), (2, 2), 3),
     ((40, 120, 140), (4, 1, 1), 0)],
)  # fmt: skip
def test_pictures_show_the_same_field_where_interpolation_fails(tmp_path, spatial, factor, colours):
    folder = RunFolder(tmp_path)
    folder.previews.mkdir()
    folder.write_preview(comparison(spatial, factor, colours), 500)
    shown = read_pictures(tmp_path, colour=bool(colours))
    assert shown.step == 500
    assert shown.truth.dtype == np.uint8
    assert shown.truth.shape == shown.model.shape == shown.cubic.shape
    assert shown.truth.ndim == (3 if colours else 2)
    assert max(shown.truth.shape[:2]) <= CROP
    down = tuple(slice(None, None, k) for k in factor[-2:])
    np.testing.assert_array_equal(shown.source, shown.truth[down])
    assert (shown.cubic != shown.truth).any()


def test_a_crop_of_a_small_image_is_the_image():
    whole = comparison((30, 40), (2, 2))
    cropped = crop_alike([whole.source, whole.cubic, whole.model, whole.truth])
    assert [plane.shape for plane in cropped] == [(15, 20), (30, 40), (30, 40), (30, 40)]


def test_nothing_is_shown_of_what_is_not_there_or_half_written(tmp_path):
    assert read_comparison(tmp_path) is None
    (tmp_path / "preview.npz").write_bytes(b"PK\x03\x04 and no more")
    assert read_comparison(tmp_path) is None
    assert read_pictures(tmp_path, colour=False) is None
    assert list(read_measurements(tmp_path, 100)) == []


def test_measurements_are_read_up_to_the_step_that_a_run_goes_on_from(tmp_path):
    folder = RunFolder(tmp_path)
    for step in (50, 100, 150):
        folder.add_row({"step": step, "loss": 0.1, "psnr": step / 10, "cubic_psnr": 4.0})
    read = list(read_measurements(tmp_path, 100))
    assert [event.step for event in read] == [50, 100]
    assert read[1].values == {"loss": 0.1, "psnr": 10.0, "cubic_psnr": 4.0}


def test_name_and_colours_come_from_the_settings(tmp_path):
    assert read_run(tmp_path) == (tmp_path.name, False)
    config = TrainingConfig(steps=10, channels=3, model=ModelSettings(name="slides"))
    RunFolder(tmp_path).create(config)
    assert read_run(tmp_path) == ("slides", True)
