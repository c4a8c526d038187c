"""Files that want to do harm, or are broken: one clear error each, and nothing is run."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from napari_hrsr import HrsrError, load_model
from napari_hrsr.errors import ModelFileError

MARK = "napari-hrsr-was-here"
ONES = torch.ones(99, 99)


class Payload:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


class Evaluated:
    """Evaluates an expression where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({str(self.path)!r}, 'w')",)


def dncnn(blocks: int = 17, features: int = 8) -> dict[str, Tensor]:
    """Weights of a DnCNN without batch normalisation, in the layout that is published."""
    torch.manual_seed(0)
    state: dict[str, Tensor] = {}
    for i in range(blocks):
        channels = (1 if i == 0 else features, 1 if i == blocks - 1 else features)
        layer = nn.Conv2d(*channels, 3, padding=1)
        state[f"model.{2 * i}.weight"] = layer.weight.detach().clone()
        state[f"model.{2 * i}.bias"] = layer.bias.detach().clone()  # type: ignore[union-attr]
    return state


def saved(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def rezipped(data: bytes, change: Callable[[str, bytes], bytes], method: int) -> bytes:
    """Write a zip anew, its records changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return out.getvalue()


def with_record(name: str, content: bytes) -> bytes:
    out = io.BytesIO(saved(dncnn()))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(name, content)
    return out.getvalue()


def header(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


def table(entries: dict[str, Any], data: bytes = b"") -> bytes:
    return header(json.dumps(entries).encode()) + data


def entry(shape: list[int], start: int, stop: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def scripted(path: Path) -> bytes:
    """TorchScript whose loading would run code of its author's."""
    del path

    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Net()), file)
    return file.getvalue()


def tarred(path: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(Payload(path))
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def flipped(_: Path) -> bytes:
    data = bytearray(saved(dncnn()))
    data[data.index(b"data/3") + 200] ^= 1
    return bytes(data)


def bomb(_: Path) -> bytes:
    """A compressed record that would grow a thousandfold."""
    return rezipped(
        saved({"model.0.weight": torch.zeros(4, 4)}),
        lambda name, old: bytes(64 * 2**20) if name.endswith("data/0") else old,
        zipfile.ZIP_DEFLATED,
    )


def grown_pickle(_: Path) -> bytes:
    return rezipped(
        saved({"model.0.weight": torch.zeros(4, 4)}),
        lambda name, old: (
            b"\x80\x02" + b"N0" * (9 * 2**20) + b"}." if name.endswith(".pkl") else old
        ),
        zipfile.ZIP_STORED,
    )


def changed(**values: Any) -> dict[str, Any]:
    return dncnn() | {k.replace("__", "."): v for k, v in values.items()}


def nan(_: Path) -> bytes:
    state = dncnn()
    state["model.4.weight"][0, 0, 0, 0] = float("nan")
    return saved(state)


FILES: dict[str, tuple[str, Callable[[Path], bytes], str]] = {
    # name: (suffix, content, words of the message)
    "os.system in a zip": (".pth", lambda p: saved({"a": Payload(p)}), "other things than weights"),
    "eval in a zip": (".ckpt", lambda p: saved({"a": Evaluated(p)}), "other things than weights"),
    "os.system, legacy": (
        ".pth",
        lambda p: saved({"a": Payload(p)}, _use_new_zipfile_serialization=False),
        "models convert",
    ),
    "os.system, bare pickle": (".pth", lambda p: pickle.dumps(Payload(p), 2), "models convert"),
    "os.system, bare pickle 4": (".pt", lambda p: pickle.dumps(Payload(p), 4), "models convert"),
    "os.system, text pickle": (".pth", lambda p: pickle.dumps(Payload(p), 0), "cut off|damaged"),
    "os.system, tar": (".pth", tarred, "models convert"),
    "pickle called safetensors": (
        ".safetensors", lambda p: pickle.dumps(Payload(p)), "cut off|models convert",
    ),
    "zip called safetensors": (
        ".safetensors", lambda p: saved({"a": Payload(p)}), "cut off|other things",
    ),
    "a whole module": (".pth", lambda p: saved(nn.Linear(2, 2)), "other things than weights"),
    "TorchScript as pt": (".pt", scripted, "holds code"),
    "TorchScript as pth": (".pth", scripted, "holds code"),
    "python beside the weights": (
        ".pth", lambda p: with_record("archive/net.py", b"print()"), "holds code",
    ),
    "compressed record": (".pth", bomb, "compressed"),
    "compressed pickle": (
        ".pth", lambda p: rezipped(saved(dncnn()), lambda n, d: d, zipfile.ZIP_DEFLATED),
        "compressed",
    ),
    "a huge pickle": (".pth", grown_pickle, "describes too much"),
    "path traversal": (".pth", lambda p: with_record("../evil", b"x"), "outside its folder"),
    "absolute path": (".pth", lambda p: with_record("/evil", b"x"), "outside its folder"),
    "two folders": (".pth", lambda p: with_record("other/data/0", b"x"), "not one that torch.save"),
    "some other zip": (
        ".pth",
        lambda p: saved({}).replace(b"data.pkl", b"data.txt"),
        "not one that torch.save|cannot be read|damaged",
    ),
    "one bit flipped": (".pth", flipped, "checksum"),
    "expanded weights": (
        ".pth",
        lambda p: saved(changed(model__0__weight=torch.ones(1, 1, 1, 1).expand(60_000, 1, 3, 3))),
        "larger than its numbers",
    ),
    "many names for one tensor": (
        ".pth",
        lambda p: saved({f"model.{i}.weight": ONES for i in range(99)}),
        "used several times",
    ),
    "sparse": (".pth", lambda p: saved(changed(x=torch.eye(3).to_sparse())), "not dense"),
    "a layer number three million": (
        ".safetensors", lambda p: save(dncnn() | {"model.3000000.weight": torch.ones(1)}),
        "no network has so many",
    ),
    "twelve digits": (
        ".safetensors", lambda p: save(dncnn() | {"body.300000000000": torch.ones(1)}),
        "no network has so many",
    ),
    "many tensors": (
        ".safetensors",
        lambda p: table({f"t{i}": entry([0], 0, 0) for i in range(20_002)}),
        "too many",
    ),
    "a wide network of few numbers": (
        ".safetensors",
        lambda p: save(
            {k: v for k, v in dncnn().items() if not k.startswith("model.0.")}
            | {"model.0.weight": torch.ones(60_000, 1, 1, 1), "model.0.bias": torch.ones(60_000)}
        ),
        "much larger than the file",
    ),
    "a network for faces of one size": (
        ".safetensors",
        lambda p: save(
            {"toRGB.0.weight": ONES, "stylegan_decoder.style_mlp.1.weight": torch.ones(2, 2)}
        ),
        "made for faces",
    ),
    "NaN": (".pth", nan, "'model.4.weight' holds NaN"),
    "infinite": (
        ".safetensors", lambda p: save(changed(model__2__bias=torch.full((8,), float("inf")))),
        "'model.2.bias' holds NaN",
    ),
    "complex": (".pth", lambda p: saved({k: v.cfloat() for k, v in dncnn().items()}), "complex64"),
    "int8": (".pth", lambda p: saved({k: v.char() for k, v in dncnn().items()}), "int8"),
    "whole numbers": (".pth", lambda p: saved({k: v.long() for k, v in dncnn().items()}), "int64"),
    "a missing tensor": (
        ".pth",
        lambda p: saved({k: v for k, v in dncnn().items() if k != "model.12.bias"}),
        "belongs to no network|does not fit",
    ),
    "another shape": (
        ".pth", lambda p: saved(changed(model__2__weight=torch.ones(8, 8, 5, 5))), "does not fit",
    ),
    "an unknown network": (
        ".pth", lambda p: saved({"mine.weight": torch.ones(3, 3)}), "belongs to no network",
    ),
    "a list": (".pth", lambda p: saved([torch.ones(3)]), "holds a list"),
    "a tensor": (".pth", lambda p: saved(torch.ones(3)), "holds a Tensor"),
    "nothing": (".pth", lambda p: saved({}), "holds no weights"),
    "numbers for names": (".pth", lambda p: saved({1: torch.ones(3)}), "no text"),
    "empty": (".pth", lambda p: b"", "cut off"),
    "header of 2^63": (".safetensors", lambda p: header(b"{}", 2**63), "cut off"),
    "overlap": (
        ".safetensors",
        lambda p: table({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)),
        "damaged",
    ),
    "hole": (
        ".safetensors",
        lambda p: table({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12)),
        "damaged",
    ),
    "negative": (".safetensors", lambda p: table({"a": entry([-1], 0, 4)}, bytes(4)), "damaged"),
    "out of the file": (".safetensors", lambda p: table({"a": entry([9], 0, 36)}), "damaged"),
    "trailing bytes": (
        ".safetensors", lambda p: table({"a": entry([1], 0, 4)}, bytes(9)), "damaged",
    ),
    "deep JSON": (".safetensors", lambda p: header(b"[" * 200_000), "damaged header"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_a_hostile_file_is_refused_and_nothing_runs(case: str, tmp_path: Path) -> None:
    suffix, content, words = FILES[case]
    mark = tmp_path / MARK
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content(mark))
    before = psutil.Process().memory_info().rss
    with pytest.raises(ModelFileError, match=words) as info:
        load_model(path)
    assert path.name in str(info.value)
    assert str(tmp_path) not in str(info.value)
    assert not mark.exists()
    assert psutil.Process().memory_info().rss - before < 300e6


@pytest.mark.parametrize("share", [0.0, 1e-3, 0.25, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_cut_off_is_refused(suffix: str, share: float, tmp_path: Path) -> None:
    data = saved(dncnn()) if suffix == ".pth" else save(dncnn())
    path = tmp_path / f"model{suffix}"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelFileError, match="model"):
        load_model(path)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "folder.pth").mkdir()
    for name in ("pipe.pth", "folder.pth"):
        with pytest.raises(ModelFileError, match="not a regular file"):
            load_model(tmp_path / name)
    with pytest.raises(ModelFileError, match=r"cannot read missing\.pth"):
        load_model(tmp_path / "missing.pth")


def test_the_environment_cannot_switch_the_safe_reader_off(tmp_path: Path) -> None:
    mark, path = tmp_path / MARK, tmp_path / "model.pth"
    path.write_bytes(saved({"a": Payload(mark)}))
    script = (
        "from napari_hrsr import load_model, HrsrError\n"
        "try:\n"
        f"    load_model({str(path)!r})\n"
        "except HrsrError as error:\n"
        "    print('refused', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env=os.environ | {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("refused")
    assert not mark.exists()


def test_the_payload_of_these_tests_does_what_it_says(tmp_path: Path) -> None:
    mark = tmp_path / MARK
    pickle.loads(pickle.dumps(Payload(mark)))  # noqa: S301
    assert mark.exists()
    assert issubclass(ModelFileError, HrsrError)
