"""Packages of the BioImage Model Zoo: written, tested by its library, read, and refused."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from napari_hrsr import load_model, upscale
from napari_hrsr.errors import InputError, ModelFileError, OutputError, UntrustedError
from napari_hrsr.models.foreign import trust
from napari_hrsr.models.foreign.asking import ask_trust
from napari_hrsr.models.installing import add_models, remove_model
from napari_hrsr.training.bioimage_export import export_package

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packages") / "flat.zip"
    assert export_package("general-2d-x2", out, noise=0.02) == []
    return out


def changed(package: Path, folder: Path, change: Any, *, own: bool = False) -> Path:
    """Unpack a package without our own file, and change its description."""
    folder.mkdir()
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    facts = yaml.safe_load((folder / "rdf.yaml").read_text())
    if not own:
        del facts["attachments"]
    change(facts)
    (folder / "rdf.yaml").write_text(yaml.safe_dump(facts))
    return folder


def nothing(facts: dict[str, Any]) -> None:
    """Leave it."""


IMAGE = np.random.default_rng(0).normal(300, 40, (41, 50)).astype(np.float32)


def test_an_exported_model_comes_back_pixel_by_pixel(package: Path) -> None:
    assert_array_equal(upscale(IMAGE, package, tile=20), upscale(IMAGE, "general-2d-x2", tile=20))


def test_volumes_too(tmp_path: Path) -> None:
    out = tmp_path / "deep.zip"
    assert export_package("general-3d-x2", out) == []
    volume = np.random.default_rng(0).random((10, 20, 24), np.float32)
    ours = upscale(volume, "general-3d-x2", axes="ZYX")
    assert_array_equal(upscale(volume, out, axes="ZYX"), ours)


def test_what_other_programs_see_is_tiled_exactly(package: Path, tmp_path: Path) -> None:
    folder = changed(package, tmp_path / "other", nothing)
    spec = load_model(folder).spec
    assert (spec.scale, spec.percentiles, spec.restored) == ((2, 2), (0.1, 99.9), False)
    counts = np.clip(IMAGE, 0, None).astype(np.uint16)
    whole = upscale(counts, folder, tile=100)
    assert whole.dtype == np.float32
    assert_allclose(upscale(counts, folder, tile=17), whole, atol=1e-6)
    low, high = np.percentile(counts, (0.1, 99.9))
    ours = upscale(counts, "general-2d-x2", noise=0.02 * (high - low), dtype=np.float32)
    assert_allclose(whole, (ours - low) / (high - low), atol=1e-5)


def test_processing_is_what_the_library_does(package: Path, tmp_path: Path) -> None:
    import bioimageio.core as library

    def change(facts: dict[str, Any]) -> None:
        facts["inputs"][0]["preprocessing"] = [
            {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["y", "x"]}},
            {"id": "clip", "kwargs": {"min": -1.5, "max": 1.5}},
        ]
        facts["outputs"][0]["postprocessing"] = [
            {"id": "scale_linear", "kwargs": {"gain": 3.0, "offset": 7.0}}
        ]

    folder = changed(package, tmp_path / "other", change)
    result = upscale(IMAGE, folder, tile=23)
    model = library.load_model_description(folder / "rdf.yaml", perform_io_checks=False)
    sample = library.predict(model=model, inputs={"image": IMAGE[None, None]})
    expected = next(iter(sample.members.values())).data.to_numpy()
    assert_allclose(result, expected[0, 0], atol=1e-3)


def test_it_is_installed(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "models"))
    folder = changed(package, tmp_path / "other", nothing)
    (spec,) = add_models(folder)
    assert_array_equal(upscale(IMAGE, spec.name), upscale(IMAGE, folder))


NET = """
import os, pathlib, torch

pathlib.Path({mark!r} + str(os.getpid())).touch()

class Net(torch.nn.Sequential):
    def __init__(self, features):
        conv = torch.nn.Conv2d
        super().__init__(
            conv(1, features, 3, padding=1), torch.nn.ReLU(), conv(features, 4, 1),
            torch.nn.PixelShuffle(2),
        )
"""
"""A program that leaves the number of the process that runs it in the name of a file."""


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 4, 1), nn.PixelShuffle(2)
    return nn.Sequential(*layers).eval()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def in_python(package: Path, folder: Path) -> Path:
    """Make a package whose network is a program in Python."""

    def change(facts: dict[str, Any]) -> None:
        (folder / "net.py").write_text(NET.format(mark=str(folder / "mark")))
        torch.save(network().state_dict(), folder / "net.pt")
        facts["weights"] = {
            "pytorch_state_dict": {
                "source": "net.pt",
                "sha256": digest(folder / "net.pt"),
                "pytorch_version": "2.5",
                "architecture": {
                    "source": "net.py",
                    "sha256": digest(folder / "net.py"),
                    "callable": "Net",
                    "kwargs": {"features": 5},
                },
            }
        }

    return changed(package, folder, change)


def in_torchscript(package: Path, folder: Path) -> Path:
    """Make a package whose network is TorchScript."""

    def change(facts: dict[str, Any]) -> None:
        torch.jit.save(torch.jit.script(network()), str(folder / "net.pt"))
        facts["weights"] = {
            "torchscript": {
                "source": "net.pt",
                "sha256": digest(folder / "net.pt"),
                "pytorch_version": "2.5",
            }
        }

    return changed(package, folder, change)


def test_a_network_of_an_installed_library_is_code_too(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "_trusted", set())
    folder = tmp_path / "other"
    torch.manual_seed(0)
    arguments = {"in_channels": 1, "out_channels": 1, "kernel_size": 2, "stride": 2}
    network = nn.ConvTranspose2d(**arguments).requires_grad_(False)

    def change(facts: dict[str, Any]) -> None:
        torch.save(network.state_dict(), folder / "net.pt")
        architecture = {
            "callable": "ConvTranspose2d", "import_from": "torch.nn", "kwargs": arguments,
        }  # fmt: skip
        facts["weights"] = {
            "pytorch_state_dict": {
                "source": "net.pt",
                "sha256": digest(folder / "net.pt"),
                "pytorch_version": "2.5",
                "architecture": architecture,
            }
        }

    changed(package, folder, change)
    request = ask_trust(folder)
    assert request is not None
    assert request.file == "torch.nn.ConvTranspose2d, named by other"
    with pytest.raises(UntrustedError, match=r"\(Python\)"):
        load_model(folder)
    low, high = np.percentile(IMAGE, (0.1, 99.9))
    given = torch.from_numpy((IMAGE - low) / (high - low)).float()
    result = upscale(IMAGE, load_model(folder, trusted=request.sha256), tile=20)
    assert_allclose(result, network(given[None, None])[0, 0].numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "shown"), [(in_python, ["net.py", "net.pt"]), (in_torchscript, ["net.pt of other"])]
)
def test_programs_run_where_they_are_trusted_in_another_process(
    make: Any, shown: list[str], package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(trust, "_trusted", set())
    folder = make(package, tmp_path / "other")
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("loaded in this process"))
    with pytest.raises(UntrustedError, match="other holds code"):
        load_model(folder)
    request = ask_trust(folder)
    assert request is not None
    assert request.digests == tuple((name, digest(folder / name.split()[0])) for name in shown)
    assert not list(folder.glob("mark*"))

    low, high = np.percentile(IMAGE, (0.1, 99.9))
    with torch.inference_mode():
        given = torch.from_numpy((IMAGE - low) / (high - low)).float()
        expected = network()(given[None, None])[0, 0].numpy()
    model = load_model(folder, trusted=request.sha256)
    assert model.spec.halo == (1, 1)
    assert_allclose(upscale(IMAGE, model, tile=20), expected, atol=1e-5)
    marks = {path.name for path in folder.glob("mark*")}
    assert bool(marks) is (make is in_python)
    assert f"mark{os.getpid()}" not in marks

    if make is in_torchscript:
        return
    # The same files called in another way are another program.
    described = (folder / "rdf.yaml").read_text()
    (folder / "rdf.yaml").write_text(described.replace("features: 5", "features: 6"))
    with pytest.raises(UntrustedError):
        load_model(folder)
    (folder / "rdf.yaml").write_text(described)

    trust.withdraw(request.sha256)
    (spec,) = add_models(folder, ask=lambda again: again == request)
    monkeypatch.setattr(trust, "_trusted", set())
    assert_allclose(upscale(IMAGE, spec.name, tile=20), expected, atol=1e-5)
    remove_model(spec.name)
    with pytest.raises(UntrustedError):
        load_model(folder)


def test_a_package_that_needs_no_program_is_not_asked_about(package: Path, tmp_path: Path) -> None:
    assert ask_trust(package) is None
    assert ask_trust(changed(package, tmp_path / "other", nothing)) is None


def put(*path: Any, value: Any) -> Any:
    def change(facts: dict[str, Any]) -> None:
        for key in path[:-1]:
            facts = facts[key]
        facts[path[-1]] = value

    return change


HOSTILE = {
    "lacks its file": put("weights", "onnx", "source", value="none.onnx"),
    "outside its folder": put("weights", "onnx", "source", value="../secret.onnx"),
    "is not the one": put("weights", "onnx", "sha256", value="0" * 64),
    "of one size": put("inputs", 0, "axes", 2, "size", value=64),
    "only, not as a whole": put("inputs", 0, "preprocessing", 0, "kwargs", "axes", value=["x"]),
    "tile by tile": put("outputs", 0, "postprocessing", value=[{"id": "zero_mean_unit_variance"}]),
    "no valid model|not understood": put("inputs", value=[]),
}


@pytest.mark.parametrize("words", HOSTILE)
def test_what_cannot_be_done_is_refused(package: Path, tmp_path: Path, words: str) -> None:
    folder = changed(package, tmp_path / "evil", HOSTILE[words])
    with pytest.raises(ModelFileError, match=words):
        load_model(folder)


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "a\\..\\evil.py"])
def test_members_outside_the_package_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rdf.yaml", "type: model")
        archive.writestr(name, "x")
    with pytest.raises(ModelFileError, match="outside its folder"):
        load_model(path)
    assert [p.name for p in tmp_path.iterdir()] == ["evil.zip"]


def test_bombs_and_damage_are_refused(package: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rdf.yaml", b" " * 50_000_000)
    with pytest.raises(ModelFileError, match="grows too much"):
        load_model(path)
    path.write_bytes(package.read_bytes()[:1000])
    with pytest.raises(ModelFileError, match="damaged"):
        load_model(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(ModelFileError, match="holds no rdf"):
        load_model(path)


def test_what_cannot_be_written_is_explained(package: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        export_package("general-2d-x2", package)
    with pytest.raises(InputError, match=r"end in \.zip"):
        export_package("general-2d-x2", tmp_path / "x.tar")
