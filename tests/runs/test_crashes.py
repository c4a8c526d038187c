"""Runs that are killed, and gone on with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_hrsr.files import write_image
from napari_hrsr.metadata import ImageMetadata

SCRIPT = Path(__file__).with_name("crashing.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork to kill many children quickly")
@pytest.mark.parametrize("suffix", [".ome.zarr"])
def test_killed_anywhere_and_resumed_the_bytes_are_those_of_an_unbroken_run(
    tmp_path: Path, suffix: str
) -> None:
    image = np.random.default_rng(0).integers(0, 60_000, (2, 60, 40)).astype(np.uint16)
    metadata = ImageMetadata("CYX", (1.0, 0.5, 0.5), (0.0,) * 3, ("pixel",) * 3)
    write_image(tmp_path / "source.ome.tif", image, metadata)
    (tmp_path / "runs").mkdir()
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "source.ome.tif", tmp_path / "runs", suffix, "5"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # Every chunk and every record is renamed once, so kills reach all stages of a run.
    assert found["killed"] >= 12
    assert found["different"] == found["leftover"] == found["torn"] == 0
