"""Importing is cheap, and imports point one way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import napari_hrsr

ROOT = Path(__file__).parents[1]


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "code",
    [
        "import napari_hrsr",
        "import napari_hrsr; napari_hrsr.list_models()",
        "import napari_hrsr; napari_hrsr.upscaled_scale_translate([1, 1], [0, 0], factor=2)",
        "import napari_hrsr.layers",
    ],
)
def test_what_costs_nothing_imports_neither_torch_nor_napari(code: str) -> None:
    heavy = "sorted({'torch', 'napari', 'qtpy', 'zarr', 'dask'} & set(sys.modules))"
    assert run(f"{code}; import sys; print({heavy})") == "[]"


def test_upscaling_imports_no_napari() -> None:
    code = (
        "import sys, numpy, napari_hrsr\n"
        "napari_hrsr.upscale(numpy.zeros((4, 4)), 'cubic-2x2')\n"
        "print(sorted({'napari', 'qtpy', 'magicgui'} & set(sys.modules)))"
    )
    assert run(code) == "[]"


def test_every_public_name_is_there() -> None:
    assert set(napari_hrsr.__all__) == set(dir(napari_hrsr))
    for name in napari_hrsr.__all__:
        value = getattr(napari_hrsr, name)
        if name != "__version__":
            assert value.__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'upscaled'"):
        napari_hrsr.upscaled  # noqa: B018


def test_imports_point_down() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
