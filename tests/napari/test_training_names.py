"""Names, factors and folders that the window suggests."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr._napari.training_names import (
    FACTORS,
    format_count,
    format_step,
    free_folder,
    model_name,
    parse_factor,
)
from napari_hrsr.errors import InputError
from napari_hrsr.training.config import ModelSettings, TrainingConfig


@pytest.mark.parametrize(
    ("text", "factor"),
    [("2x2", (2, 2)), ("4, 1, 1", (4, 1, 1)), (" 3X2X2 ", (3, 2, 2)), ("1x2", (1, 2))],
)
def test_a_factor_is_read_as_people_write_it(text, factor):
    assert parse_factor(text) == factor


@pytest.mark.parametrize("text", ["", "2", "two", "2x2x2x2", "1x1", "0x2", "2.5x2", "-2x2", "99x2"])
def test_what_is_no_factor_is_refused_with_an_example(text):
    with pytest.raises(InputError, match="such as 2x2"):
        parse_factor(text)


def test_every_factor_on_offer_can_be_trained():
    for _, factor in FACTORS:
        assert TrainingConfig(scale=factor).ndim == len(factor)


@given(st.text(max_size=60), st.sampled_from([factor for _, factor in FACTORS]))
def test_any_image_gives_a_name_that_a_model_can_have(image, scale):
    first = model_name(image, scale, ())
    second = model_name(image, scale, {first})
    assert ModelSettings(name=first).name == first
    assert ModelSettings(name=second).name == second
    assert first != second


def test_a_name_says_image_and_factor():
    assert model_name("Zellen (2). Färbung.tif", (2, 2), ()) == "zellen-2-farbung-tif-2d-x2"
    assert model_name("stack", (4, 1, 1), ()) == "stack-3d-x4x1x1"
    assert model_name("細胞", (2, 2), {"my-model-2d-x2"}) == "my-model-2d-x2-2"


def test_a_run_never_goes_into_the_folder_of_another(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    first = free_folder("cells")
    first.mkdir(parents=True)
    second = free_folder("cells")
    assert second != first
    assert second.parent == first.parent


def test_numbers_are_short():
    assert [format_count(n) for n in (7, 1500, 57_400, 1.3e6)] == ["7", "1.5 k", "57 k", "1.3 M"]
    assert [format_step(s) for s in (0.0312, 0.112, 1.44)] == ["31.2 ms", "112 ms", "1.4 s"]
