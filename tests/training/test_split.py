"""What is measured on is never learned from."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hrsr.errors import InputError
from napari_hrsr.training.collection import ArrayItem, TrainingImage, open_collection
from napari_hrsr.training.paired_image import PairedImage
from napari_hrsr.training.registration import Registration
from napari_hrsr.training.split import find_split_folders, split_collection


def image(shape, source="s", file="f", **options):
    pixels = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
    return TrainingImage(source, file, pixels, 0.0, 1.0, file=file, **options)


def voxels(images):
    """Every pixel that can be read, as (file, index in the file)."""
    found = set()
    for one in images:
        key = np.ix_(
            *(range(k.start, k.stop) if isinstance(k, slice) else (k,) for k in one.view.key)
        )
        indices = np.zeros(one.view.array.shape, bool)
        indices[key] = True
        found |= {(one.file, int(i)) for i in np.flatnonzero(indices)}
    return found


@given(
    shapes=st.lists(st.tuples(st.integers(20, 90), st.integers(20, 90)), min_size=1, max_size=8),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 99),
    sources=st.integers(1, 4),
    ratio=st.sampled_from([(1, 1.0), (2, 1.0), (1, 0.7)]),
)
def test_no_pixel_is_on_both_sides(shapes, share, seed, sources, ratio):
    images = [
        image(shape, f"s{i % sources}", f"f{i}", bin=ratio[0], resize=ratio[1])
        for i, shape in enumerate(shapes)
    ]
    try:
        training, validation = split_collection(images, share, seed, margin=5, minimum=8)
    except InputError as error:
        # Only where there is nothing that could be divided.
        assert max(map(max, shapes)) / (ratio[0] / ratio[1]) < 8 + 5 + 8 + 2
        assert "too little" in str(error)  # noqa: PT017
        return
    assert training
    assert validation
    assert not voxels(training) & voxels(validation)
    again = split_collection(images, share, seed, margin=5, minimum=8)
    assert [[i.shape for i in side] for side in again] == [
        [i.shape for i in side] for side in (training, validation)
    ]


@settings(max_examples=8)
@given(seed=st.integers(0, 20), length=st.integers(60, 100))
def test_planes_of_one_volume_that_cross_do_not_meet(seed, length):
    volume = np.random.default_rng(0).random((95, 60, length)).astype(np.float32)
    images = open_collection([ArrayItem("v", volume)], ndim=2, minimum=16).images
    training, validation = split_collection(images, 0.2, seed, margin=4, minimum=16)
    assert {i.name[2] for i in training} >= {"z", "y"}
    assert not voxels(training) & voxels(validation)


def test_a_margin_lies_between_both_parts():
    one = image((100, 200))
    (rest,), (kept,) = split_collection([one], 0.2, 0, margin=12, minimum=16)
    assert kept.shape == (100, 40)
    assert rest.shape == (100, 200 - 40 - 12)
    columns = sorted([rest.view.key[1], kept.view.key[1]], key=lambda k: k.start)
    assert columns[1].start - columns[0].stop == 12
    assert np.array_equal(
        kept.read((slice(0, 9), slice(0, 7))),
        one.pixels[0:9, columns[1].start :][:, :7]
        if kept.view.key[1] == columns[1]
        else one.pixels[0:9, :7],
    )


def test_both_ends_are_kept_for_some_seeds():
    starts = {
        split_collection([image((64, 200))], 0.2, seed)[1][0].view.key[1].start
        for seed in range(10)
    }
    assert starts == {0, 152}


def test_images_of_one_source_stay_together():
    images = [image((50, 50), f"s{i // 2}", f"f{i}") for i in range(20)]
    for seed in range(5):
        training, validation = split_collection(images, 0.1, seed)
        assert not {i.source for i in training} & {i.source for i in validation}
        assert len(validation) == 2


def test_large_classes_are_divided_by_file():
    images = [image((50, 50), "worms" if i < 20 else "flies", f"f{i // 2}") for i in range(40)]
    training, validation = split_collection(images, 0.1, 0)
    assert len(validation) == 4
    assert len({i.file for i in validation}) == 2
    assert not {i.file for i in training} & {i.file for i in validation}


def test_channels_are_divided_at_the_same_place():
    stack = np.random.default_rng(0).random((2, 64, 200))
    images = open_collection([ArrayItem("a", stack, "CYX")], ndim=2).images
    training, validation = split_collection(images, 0.2, 3)
    assert len(training) == len(validation) == 2
    assert training[0].view.key[2] == training[1].view.key[2]
    assert not voxels(training) & voxels(validation)


def test_what_is_too_small_is_learned_from_whole():
    images = [image((200, 60), file="large"), image((60, 60), file="small")]
    training, validation = split_collection(images, 0.2, 0)
    assert [i.file for i in training] == ["large", "small"]
    assert training[1].shape == (60, 60)
    assert [i.file for i in validation] == ["large"]
    with pytest.raises(InputError, match="112 pixels"):
        split_collection(images[1:], 0.2, 0)


def test_pairs_are_divided_in_fine_pixels():
    coarse, fine = image((100, 60)), image((200, 120))
    pair = PairedImage(coarse, fine, (2, 2), Registration((0.0, 0.0), 1.0, 0.0, 1.0), (0, 0))
    (rest,), (kept,) = split_collection([pair], 0.1, 0, margin=16, minimum=40)
    assert kept.shape == (20, 60)
    assert rest.shape == (100 - 20 - 8, 60)
    for part in (rest, kept):
        low, high = part.read_pair((slice(2, 6), slice(3, 9)))
        top = part.view.key[0].start
        assert np.array_equal(low, coarse.pixels[top + 2 : top + 6, 3:9])
        assert np.array_equal(high, fine.pixels[2 * (top + 2) : 2 * (top + 6), 6:18])


@pytest.mark.parametrize("share", [0, 0.6])
def test_a_share_that_makes_no_sense_is_refused(share):
    with pytest.raises(InputError, match="share"):
        split_collection([image((200, 200))], share)


def test_split_folders_are_found(tmp_path):
    assert find_split_folders(tmp_path) is None
    (tmp_path / "Train").mkdir()
    assert find_split_folders(tmp_path) is None
    (tmp_path / "test").mkdir()
    assert find_split_folders(tmp_path) == (tmp_path / "Train", tmp_path / "test")
    (tmp_path / "valid").mkdir()
    assert find_split_folders(tmp_path) == (tmp_path / "Train", tmp_path / "valid")
    assert find_split_folders(tmp_path / "nowhere") is None
