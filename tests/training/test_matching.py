"""Names, else the order, tell which images belong together."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.errors import InputError
from napari_hrsr.training.finding import Found
from napari_hrsr.training.matching import common_name, match


def found(*names):
    return [Found(name, "s", Path(name)) for name in names]


def matched(coarse, fine):
    pairs, left_out = match(found(*coarse), found(*fine))
    return [(a.name, b.name) for a, b in pairs], [entry.name for entry in left_out]


@pytest.mark.parametrize(
    ("coarse", "fine"),
    [
        ("cell01_lr.tif", "cell01_HR.tif"),
        ("0801x2.png", "0801.png"),
        ("0801x4.png", "0801.png"),
        ("lr_cell.ome.tif", "hr_cell.nii.gz"),
        ("cell low-res.tif", "cell-high_resolution.tif"),
        ("lr.tif", "hr.tif"),
        ("a/cell_input_x2.tif", "b/cell_gt.tif"),
        ("Cell 3.tif", "cell 3.png"),
    ],
)
def test_names_of_a_pair_agree(coarse, fine):
    assert common_name(*found(coarse)) == common_name(*found(fine))


@given(st.text("abcxyz01289", min_size=1, max_size=6), st.text("abcxyz01289", max_size=6))
def test_other_names_stay_apart(one, other):
    words = ("lr", "hr", "low", "high")
    names = {common_name(*found(f"{stem}-field_{w}.tif")) for stem in (one, other) for w in words}
    assert len(names) == len({one, other})


def test_files_are_matched_by_name_whatever_their_order():
    pairs, left = matched(["b_lr.tif", "a_lr.tif", "c_lr.tif"], ["a_hr.tif", "b_hr.tif", "d.tif"])
    assert pairs == [("b_lr.tif", "b_hr.tif"), ("a_lr.tif", "a_hr.tif")]
    assert left == ["c_lr.tif", "d.tif"]


def test_folders_tell_files_of_one_name_apart():
    pairs, left = matched(["x/1.tif", "y/1.tif"], ["y/1.tif", "x/1.tif"])
    assert pairs == [("x/1.tif", "x/1.tif"), ("y/1.tif", "y/1.tif")]
    assert not left


def test_where_no_names_agree_the_order_decides():
    pairs, _ = matched(["p.tif", "q.tif"], ["1.tif", "2.tif"])
    assert pairs == [("p.tif", "1.tif"), ("q.tif", "2.tif")]
    with pytest.raises(InputError, match="counts differ"):
        matched(["p.tif", "q.tif"], ["1.tif", "2.tif", "3.tif"])
