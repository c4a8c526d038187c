"""What a training does before its process starts."""

import numpy as np
from napari.layers import Image

from napari_hrsr._napari.training_child import Stop
from napari_hrsr._napari.training_images import layer_image
from napari_hrsr._napari.training_process import Order, Outcome, follow
from napari_hrsr.training.events import Preparing


def order(folder):
    layer = Image(np.zeros((60, 70), np.uint8), name="cells")
    return Order(folder, {"steps": 10}, (layer_image(layer, 2),))


def test_a_folder_with_files_of_somebody_is_left_alone(tmp_path):
    mine = tmp_path / "images" / "cells.ome.tif"
    mine.parent.mkdir()
    mine.write_text("mine")
    (outcome,) = follow(order(tmp_path), Stop())
    assert outcome.kind == "failed"
    assert "not empty" in outcome.message
    assert mine.read_text() == "mine"


def test_a_training_stopped_while_layers_are_copied_leaves_nothing(tmp_path):
    stop = Stop()
    told = []
    for event in follow(order(tmp_path / "run"), stop):
        told.append(event)
        stop()
    assert isinstance(told[0], Preparing)
    assert told[-1] == Outcome("stopped", "Stopped before the training began")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    *_, outcome = follow(order(tmp_path / "file" / "run"), Stop())
    assert outcome.kind == "failed"
    assert str(tmp_path / "file") in outcome.message
