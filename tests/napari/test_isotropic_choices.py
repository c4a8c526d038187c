"""What the widget "Make isotropic" suggests, reads and shows, without a window."""

import numpy as np
import pytest

from napari_hrsr._napari.isotropic_choices import (
    coarse_axis,
    finest_pixel,
    fitting_networks,
    grid_text,
    network_name,
    parse_automatic,
    parse_size,
)
from napari_hrsr._napari.isotropic_controller import Remaining
from napari_hrsr._napari.isotropic_preview import Look, shown_part
from napari_hrsr._napari.isotropic_run import Plane, Step
from napari_hrsr.errors import InputError
from napari_hrsr.forward import AxialProfile
from napari_hrsr.isotropic.axial_model import AxialFacts
from napari_hrsr.isotropic.stack import describe_stack


def test_numbers_are_read_with_point_or_comma():
    assert parse_size(" 0,7 ", "size") == parse_size("0.7", "size") == 0.7
    assert parse_automatic("Automatic", "thickness") is None
    assert parse_automatic("", "thickness") is None
    assert parse_automatic("0", "noise") == 0


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "wide"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InputError, match="voxel size must be a number above 0"):
        parse_size(text, "voxel size")


@pytest.mark.parametrize("text", ["thick", "-1", "nan"])
def test_what_is_neither_automatic_nor_a_number_is_refused(text):
    with pytest.raises(InputError, match="must be 'Automatic' or a number"):
        parse_automatic(text, "thickness")


def test_axis_and_target_follow_from_the_voxels():
    assert coarse_axis((0.5, 2, 0.4)) == 1
    assert coarse_axis((1, 1, 1)) == 0
    assert finest_pixel((0.1, 2, 0.4), 0) == 0.4


def test_names_of_networks_are_safe_and_new():
    assert network_name("Zellkern Ü 3.tif [1]", ()) == "zellkern-u-3-tif-1"
    assert network_name("../../etc", {"etc", "etc-2"}) == "etc-3"
    assert network_name("細胞", ()) == "stack"
    assert len(network_name("a" * 300, ())) == 40


def test_only_networks_for_slices_as_far_apart_are_offered():
    stack = describe_stack((10, 40, 44), (4, 1, 1))
    known = {
        name: AxialFacts(ratio, AxialProfile(), 0.0)
        for name, ratio in (("same", 4.0), ("near", 3.8), ("finer", 3.0), ("above", 4.2))
    }
    labels = fitting_networks(known, stack)
    assert [name for _, name in labels] == ["same", "near"]
    assert labels[1][0] == "near (slices 3.8 pixels apart)"
    assert fitting_networks(known, None) == []


def test_the_grid_is_told_for_all_volumes():
    stack = describe_stack((36, 224, 194), (2.8, 0.7, 0.7))
    one = "36 x 224 x 194 voxels of 2.8 x 0.7 x 0.7 mm → 144 x 224 x 194 of 0.7 mm, "
    assert grid_text(stack, 1, 2, "mm") == one + "13 MB"
    assert grid_text(stack, 5, 2, "mm") == "5 times " + one + "63 MB"


def plane(rows, columns, sizes=(1.0, 1.0), focus=(0.5, 0.5)):
    values = np.zeros((rows, columns), np.float32)
    return Plane("z-x", sizes, focus, values, values)


def test_a_small_plane_is_shown_whole_in_the_proportions_of_the_world():
    part, height = shown_part(plane(20, 50), 150)
    assert (part.width(), part.height(), height) == (50, 20, 60)
    part, height = shown_part(plane(20, 50, sizes=(2.0, 1.0)), 150)
    assert (part.width(), part.height(), height) == (50, 20, 120)


def test_of_a_large_plane_the_part_that_is_looked_at_is_shown_pixel_by_pixel():
    part, height = shown_part(plane(300, 1000, focus=(0.5, 0.25)), 150)
    assert (part.width(), part.height(), height) == (150, 150, 150)
    assert (part.left(), part.top()) == (175, 75)
    part, _ = shown_part(plane(300, 1000, focus=(1.0, 0.0)), 150)
    assert (part.left(), part.top()) == (0, 150)


def test_a_look_uses_contrast_limits_and_gamma():
    colours = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    painted = Look(colours, 10, 20, 1.0).paint(np.array([[0, 10, 15, 20, 99]]))
    assert painted[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    assert Look(colours, 0, 1, 2.0).paint(np.array([[0.5]]))[0, 0, 0] == 64


def test_remaining_time_is_told_once_it_is_known(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    remaining = Remaining()
    assert remaining.describe(Step("Learning", 10, 100)) == "Learning: 10 of 100"
    now[0] = 20.0
    assert remaining.describe(Step("Learning", 20, 100)) == "Learning: 20 of 100, 2 min 40 s left"
    assert remaining.describe(Step("Restoring", 1, 4)) == "Restoring: 1 of 4"
