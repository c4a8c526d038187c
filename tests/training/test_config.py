"""Settings survive the way to TOML and back, and wrong ones are refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.errors import InputError
from napari_hrsr.training.config import (
    AdversarySettings,
    DataSettings,
    ModelSettings,
    OptimiserSettings,
    TrainingConfig,
)
from napari_hrsr.training.config_file import (
    config_from_dict,
    config_to_dict,
    read_config,
    write_config,
)

configs = st.builds(
    TrainingConfig,
    scale=st.sampled_from([(2, 2), (3, 3), (2, 2, 2), (4, 1, 1)]),
    channels=st.sampled_from([1, 3]),
    steps=st.integers(0, 10**6),
    minutes=st.floats(0, 1e4),
    seed=st.integers(0, 2**31),
    data=st.builds(
        DataSettings,
        images=st.lists(st.text("abc/.é ", min_size=1), max_size=3).map(tuple),
        leave_out=st.lists(st.text("ab", min_size=1), max_size=2).map(tuple),
    ),
    model=st.builds(ModelSettings, name=st.from_regex(r"[a-z][a-z0-9._-]{0,8}", fullmatch=True)),
    optimiser=st.builds(OptimiserSettings, learning_rate=st.floats(1e-6, 0.1)),
    adversary=st.none() | st.builds(AdversarySettings, ramp=st.integers(0, 100)),
)


@given(config=configs)
def test_settings_survive_the_way_to_plain_values_and_back(config):
    assert config_from_dict(config_to_dict(config)) == config


def test_settings_survive_the_way_to_a_file_and_back(tmp_path):
    config = TrainingConfig(
        scale=(4, 1, 1),
        minutes=2.5,
        data=DataSettings(images=(str(tmp_path / "a b"),), axes="ZYX"),
        adversary=AdversarySettings(arguments={"width": 16}),
    )
    write_config(config, tmp_path / "run.toml")
    assert read_config(tmp_path / "run.toml") == config


def test_paths_in_a_file_are_relative_to_it(tmp_path):
    (tmp_path / "run.toml").write_text('[data]\nimages = ["sharp"]\n')
    assert read_config(tmp_path / "run.toml").data.images == (str(tmp_path / "sharp"),)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("stepz = 3", "stepz"),
        ("[optimiser]\nlearning_rate = 'fast'", "optimiser.learning_rate"),
        ("[optimiser]\nlearning_rate = -1.0", "optimiser.learning_rate"),
        ("[model]\nname = '../up'", "model.name"),
        ("scale = [2]", "scale"),
        ("scale = [2.5, 2]", "scale"),
        ("steps = true", "steps"),
        ("precision = 'float8'", "precision"),
        ("[data]\nvalidation_share = 0.9", "data.validation_share"),
        ("data = 3", "data"),
    ],
)
def test_wrong_settings_are_refused_by_name(tmp_path, text, named):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(InputError, match=named):
        read_config(tmp_path / "run.toml")


def test_a_file_that_is_no_toml_is_refused(tmp_path):
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe = [")
    with pytest.raises(InputError, match="no TOML"):
        read_config(tmp_path / "run.toml")
    with pytest.raises(InputError, match="cannot read"):
        read_config(tmp_path / "none.toml")


def test_what_is_left_open_is_chosen_by_the_number_of_axes():
    plane, volume = TrainingConfig(scale=(2, 2)), TrainingConfig(scale=(4, 1, 1))
    assert (plane.batch, plane.patch, plane.transpose_axes) == (5, 32, (0, 1))
    assert (volume.batch, volume.patch, volume.transpose_axes) == (4, 12, (1, 2))
    assert replace(plane, transpose_axes=()).transpose_axes == ()
    assert TrainingConfig(scale=(2, 4)).transpose_axes == ()
