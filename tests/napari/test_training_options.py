"""The options of a training as settings that it takes."""

from dataclasses import replace

import pytest
from napari.components import ViewerModel

from napari_hrsr._napari.training_options import (
    MRI,
    OTHER_FIELDS,
    SAME_FIELDS,
    TrainingOptions,
)
from napari_hrsr.training.config_file import config_from_dict
from napari_hrsr.training.degrade import Degradations
from napari_hrsr.training.tasks import TASK_DEGRADATIONS


@pytest.fixture
def options(qtbot):
    made = TrainingOptions(ViewerModel())
    qtbot.addWidget(made.native)
    made.follow_factor((2, 2))
    return made


def degradations(options, scale=(2, 2)):
    values = {"scale": list(scale), "steps": 1, "degradation": options.degradation()}
    return config_from_dict(values).degradation


def test_what_nobody_touches_is_the_recipe(options):
    assert degradations(options) == Degradations()


def test_ranges_are_taken_in_either_order(options):
    options.blur_low.value, options.blur_high.value = 2.0, 1.5
    options.photons_low.value, options.photons_high.value = 10, 20
    options.noisy.value, options.blurred.value = 100, 0
    drawn_from = degradations(options)
    assert drawn_from.gaussian_sigma == (1.5, 2.0)
    assert drawn_from.photons == (10, 20)
    assert drawn_from.noisy_share == 1
    assert drawn_from.point_spread_share == 0


def test_mri_records_in_k_space_with_its_noise(options):
    options.instrument.value = MRI
    options.noisy.value = 20
    drawn_from = degradations(options)
    assert (drawn_from.k_space, drawn_from.area, drawn_from.bicubic) == (1, 0, 0)
    assert drawn_from.noise == "rician"
    assert drawn_from.noisy_share == 0.2
    assert options.photons.native.isHidden()


def test_slices_are_supposed_where_only_z_becomes_finer(options):
    assert options.slices.native.isHidden()
    options.follow_factor((4, 1, 1))
    assert not options.slices.native.isHidden()
    assert degradations(options, (4, 1, 1)).slice_axis == 0
    options.slices.value = False
    assert degradations(options, (4, 1, 1)).slice_axis is None
    options.follow_factor((2, 2, 2))
    assert not options.slices.native.isHidden()
    assert degradations(options, (2, 2, 2)).slice_axis is None


def test_what_was_measured_needs_no_instrument(options):
    options.follow_factor((4, 1, 1))
    options.low.value = SAME_FIELDS
    for widget in (options.instrument, options.noisy, options.photons, options.slices):
        assert widget.native.isHidden()
    assert not options.coarse.kind.native.isHidden()
    options.low.value = OTHER_FIELDS
    assert not options.instrument.native.isHidden()


def test_what_nobody_touches_is_the_recipe_of_each_task(options):
    for task, recipe in TASK_DEGRADATIONS.items():
        options.follow_task(task, measured=False)
        assert degradations(options, (1, 1)) == recipe
    assert options.blur_high.value == 2.0
    options.noisy.value = 50
    assert degradations(options, (1, 1)) == replace(TASK_DEGRADATIONS["deblur"], noisy_share=0.5)
    options.follow_task("upscale", measured=False)
    assert degradations(options) == Degradations()
