"""Code of others runs only where the user trusts the file, and in a process that ends."""

from __future__ import annotations

import gc
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn
from typer.testing import CliRunner

from napari_hrsr import list_models, load_model, upscale
from napari_hrsr.cli import app
from napari_hrsr.errors import CancelledError, ModelFileError, UntrustedError
from napari_hrsr.models.foreign import trust
from napari_hrsr.models.foreign.asking import ask_trust
from napari_hrsr.models.foreign.trust import TrustRequest
from napari_hrsr.models.foreign.trusted import ChildRun
from napari_hrsr.models.installing import add_models, remove_model
from napari_hrsr.models.nets.convolutional import ConvolutionalUpscaler
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.models.user_models import user_folder
from napari_hrsr.training.model_file import save_model


@pytest.fixture(autouse=True)
def nobody_is_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trust, "_trusted", set())
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "models"))


@pytest.fixture(autouse=True)
def never_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*arguments: object, **options: object) -> None:
        pytest.fail("code of somebody else's was loaded in this process")

    monkeypatch.setattr(torch.jit, "load", load)


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


def asked_for(path: Path) -> TrustRequest:
    request = ask_trust(path)
    assert request is not None
    return request


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["models", *map(str, arguments)])
    return done.exit_code, " ".join(done.output.split())


pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


def test_a_trusted_file_runs_as_its_author_meant(tmp_path: Path) -> None:
    network, path = small(tmp_path / "net.pt")
    with pytest.raises(ModelFileError, match="holds code"):
        load_model(path)
    asked = asked_for(path)
    assert (asked.file, asked.size) == ("net.pt", path.stat().st_size)
    assert asked.digests == (("net.pt", hashlib.sha256(path.read_bytes()).hexdigest()),)
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
    trust.trust(asked_for(path).sha256)
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
    trust.trust(asked_for(path).sha256)
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


def test_an_added_program_is_trusted_until_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = small(tmp_path / "net.pt")
    asked: list[TrustRequest] = []

    def decline(request: TrustRequest) -> bool:
        asked.append(request)
        return False

    with pytest.raises(UntrustedError, match=r"holds code .*--trust"):
        add_models(path, ask=decline)
    assert not user_folder().exists()
    assert asked == [asked_for(path)]
    image = np.random.default_rng(0).random((20, 30), np.float32)

    (spec,) = add_models(path, ask=lambda request: True)
    # As in another session.
    monkeypatch.setattr(trust, "_trusted", set())
    assert spec in list_models()
    result = upscale(image, "net")
    assert result.shape == (40, 60)

    # Another program under that name is not trusted, and asked about.
    stored = user_folder() / "net.safetensors"
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(stored.read_bytes())
    torch.manual_seed(1)
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.PixelShuffle(2)
    changed = saved(nn.Sequential(*layers), path)
    with pytest.raises(UntrustedError):
        add_models(changed, ask=decline)
    assert asked[1].sha256 != asked[0].sha256
    assert_allclose(upscale(image, "net"), result)

    remove_model("net")
    monkeypatch.setattr(trust, "_trusted", set())
    assert json.loads((user_folder() / "trusted.json").read_text()) == {}
    # Not even where its file comes back, or is added as one of ours.
    with pytest.raises(UntrustedError):
        load_model(copy)
    with pytest.raises(UntrustedError):
        add_models(copy)
    stored.write_bytes(copy.read_bytes())
    with pytest.raises(UntrustedError, match=r"net\.safetensors holds code"):
        upscale(image, "net")
    stored.unlink()
    (spec,) = add_models(copy, ask=lambda request: request.sha256 == asked[0].sha256)
    assert_allclose(upscale(image, spec.name), result)


def test_a_name_that_is_taken_over_takes_no_trust_along(tmp_path: Path) -> None:
    _, path = small(tmp_path / "net.pt")
    add_models(path, ask=lambda request: True)
    digest = asked_for(path).sha256
    assert trust.is_trusted(digest)
    arguments = {"ndim": 2, "scale": (2, 2), "features": 4, "blocks": 1}
    network = ConvolutionalUpscaler(**arguments)
    facts = ModelSpec(
        name="net", title="net", task="upscale", architecture="convolutional",
        arguments=arguments, ndim=2, scale=(2, 2), halo=network.halo, noise_input=True,
    )  # fmt: skip
    save_model(network, facts, tmp_path / "ours.safetensors")
    (spec,) = add_models(tmp_path / "ours.safetensors")
    assert spec.name == "net"
    assert not trust.is_trusted(digest)


def test_trust_on_the_command_line(tmp_path: Path) -> None:
    _, path = small(tmp_path / "net.pt")
    digest = asked_for(path).sha256
    for command in ("show", "add"):
        code, text = run(command, path)
        assert (code, "--trust" in text) == (1, True)
    code, text = run("show", "--trust", path)
    assert code == 0
    assert digest in text
    assert "read your files" in text
    assert "run in a process of its own" in text
    trust.withdraw(digest)
    code, text = run("add", "--trust", path)
    assert code == 0
    assert digest in text
    trust.withdraw(digest)
    assert load_model("net").spec.scale == (2, 2)
    assert run("show", "net")[0] == 0
    code, text = run("add", "--trust", tmp_path)
    assert (code, "one file" in text) == (1, True)


def test_what_holds_no_code_needs_no_trust(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"weight": torch.ones(3)}, path)
    assert ask_trust(path) is None
    assert "changes nothing" in run("show", "--trust", path)[1]
    assert not trust._trusted
