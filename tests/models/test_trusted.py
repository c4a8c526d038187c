"""Code of others runs only where the user trusts the file, and in a process that ends."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn

from napari_hrsr import load_model, upscale
from napari_hrsr.errors import CancelledError, ModelFileError
from napari_hrsr.models.foreign import trust
from napari_hrsr.models.foreign.trust import ask_trust
from napari_hrsr.models.foreign.trusted import ChildRun


@pytest.fixture(autouse=True)
def nobody_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_trusted", set())


class Endless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        while bool(x.sum() == x.sum()):
            x = x * 1.0
        return x


def saved(network: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(network.eval()), str(path))
    return path


def small(path: Path) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.PixelShuffle(2)
    network = nn.Sequential(*layers)
    return network, saved(network, path)


pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


def test_a_trusted_file_runs_as_its_author_meant(tmp_path: Path) -> None:
    network, path = small(tmp_path / "net.pt")
    with pytest.raises(ModelFileError, match="holds code"):
        load_model(path)
    asked = ask_trust(path)
    assert (asked.file, asked.size) == ("net.pt", path.stat().st_size)
    assert "read your files" in asked.risk
    model = load_model(path, trusted=asked.sha256)
    assert (model.spec.scale, model.spec.halo) == ((2, 2), (1, 1))
    image = np.random.default_rng(0).random((20, 30), np.float32)
    low, high = np.percentile(image, (0.1, 99.9))
    with torch.inference_mode():
        expected = network(torch.from_numpy((image - low) / (high - low))[None, None].float())
    result = upscale(image, model, tile=12)
    assert_allclose(result, expected[0, 0].numpy() * (high - low) + low, atol=1e-5)


def test_trust_is_for_one_file(tmp_path: Path) -> None:
    _, path = small(tmp_path / "net.pt")
    trust.trust(ask_trust(path).sha256)
    other = saved(nn.Sequential(nn.Conv2d(1, 1, 3)), tmp_path / "other.pt")
    with pytest.raises(ModelFileError, match="holds code"):
        load_model(other)
    with pytest.raises(ModelFileError, match="no sha256"):
        load_model(other, trusted="yes")


def test_the_process_ends_with_its_owner_and_on_cancel(tmp_path: Path) -> None:
    path = saved(Endless(), tmp_path / "endless.pt")
    content = path.read_bytes()
    with pytest.raises(ModelFileError, match="--trust"):
        ChildRun("endless.pt", content)
    trust.trust(ask_trust(path).sha256)
    run = ChildRun("endless.pt", content)
    image = np.ones((1, 1, 4, 4), np.float32)
    run._start()
    process = run.process
    assert process is not None
    run.cancelled = lambda: True
    with pytest.raises(CancelledError):
        run(image)
    assert process.returncode is not None
    run = ChildRun("endless.pt", content, seconds=0.3)
    with pytest.raises(ModelFileError, match="takes longer"):
        run(image)
    run._start()
    process = run.process
    assert process is not None
    del run
    gc.collect()
    assert process.wait(10) is not None
