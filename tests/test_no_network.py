"""Nothing needs a network: a process in a namespace that has no interface does everything.

Workers on this machine talk to each other over the loopback interface, which
such a namespace has only after ``ip link set lo up``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage import data
from skimage.io import imsave

SCRIPT = """
import socket
import sys
from pathlib import Path

from typer.testing import CliRunner

from napari_hrsr.cli import app

folder = Path(sys.argv[1])
try:
    socket.create_connection(("192.0.2.1", 80), 1)
except OSError:
    pass
else:
    raise SystemExit("there is a network")
for arguments in (
    ["demo", "--headless", folder / "demo", "--quiet"],
    ["upscale", folder / "image.png", folder / "out.ome.zarr", "--quiet"],
    ["train", "--config", folder / "run.toml", "--out", folder / "run"],
):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exit_code:
        raise SystemExit(f"{arguments[0]}: {done.output} {done.exception!r}")
"""

SETTINGS = """
steps = 4
batch = 1
patch = 8
pairs = 2
largest = 64
threads = 1
device = "cpu"

[data]
images = ["sharp"]

[model]
name = "tiny"
arguments = {features = 4, blocks = 1}
"""


def _apart() -> list[str]:
    command = ["unshare", "-rn"]
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare on this system")
    done = subprocess.run([*command, "true"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("network namespaces are not permitted here")
    return command


def test_demonstration_upscaling_and_training_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = _apart()
    (tmp_path / "sharp").mkdir()
    for name in ("camera", "coins", "moon", "page"):
        imsave(tmp_path / "sharp" / f"{name}.png", getattr(data, name)()[:150, :160])
    imsave(tmp_path / "image.png", data.camera()[100:164, 100:180])
    (tmp_path / "run.toml").write_text(SETTINGS)
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "models"))
    done = subprocess.run(
        [*command, sys.executable, "-c", SCRIPT, tmp_path],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    from napari_hrsr.files import read_image

    result = read_image(tmp_path / "out.ome.zarr")
    assert result.data.shape == (128, 160)
    assert np.ptp(np.asarray(result.data)) > 100
    assert (tmp_path / "demo" / "comparison.png").exists()
    assert list((tmp_path / "run").rglob("*.safetensors"))
