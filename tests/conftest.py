"""What all tests share: a home folder of their own, and the optional training data."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# Set before napari, magicgui or torch is imported: they read it once.
_HOME = Path(tempfile.mkdtemp(prefix="napari-hrsr-tests-"))
os.environ |= {
    "HOME": str(_HOME),
    "XDG_CACHE_HOME": str(_HOME / "cache"),
    "XDG_CONFIG_HOME": str(_HOME / "config"),
    "XDG_DATA_HOME": str(_HOME / "data"),
    "NAPARI_CONFIG": str(_HOME / "config" / "napari" / "settings.yaml"),
}
# Tensors of tests are small: threads that wait for each other cost more than they save.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Machines that run tests are busy: how long an example takes says nothing.
settings.register_profile("steady", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("steady")


def pytest_unconfigure():
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def data_folder():
    """Folder of the real images that the models are trained on, with ``2d`` and ``3d`` in it."""
    default = Path(__file__).parents[2] / "shared" / "data" / "train"
    folder = Path(os.environ.get("NAPARI_HRSR_DATA", default))
    if not folder.is_dir():
        pytest.skip("no training data: set NAPARI_HRSR_DATA to their folder")
    return folder
