"""Write a model as a package of the BioImage Model Zoo.

The package holds the network as ONNX, which every program that reads the format
can run without the author's code, and our own file, from which napari-hrsr gets
back the very same model. A network that is told the noise is given one level,
as other programs measure none.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from napari_hrsr.errors import InputError, ModelError, OutputError
from napari_hrsr.files.partial import check_folder, partial_file
from napari_hrsr.models.describing import gain_baseline
from napari_hrsr.models.foreign.bioimage import ATTACHED
from napari_hrsr.models.load import NetworkUpscaler, load_model
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.samples import read_sample
from napari_hrsr.training.model_file import save_model

_OPSET = 17
_TEST_SIDE = {2: 64, 3: 24}
_LEAST = {2: 32, 3: 16}


class _AtOneLevel(nn.Module):
    """A network that is told the same noise whatever the image."""

    def __init__(self, model: NetworkUpscaler, noise: float) -> None:
        super().__init__()
        self.network, self.noise = model.network, noise
        self.ndim, self.told = model.spec.ndim, model.spec.noise_input

    def forward(self, image: Tensor) -> Tensor:
        level = torch.full((1,) * (2 + self.ndim), self.noise) if self.told else None
        result: Tensor = self.network(image, level)
        return result


def export_package(model: str | Path, out: str | Path, *, noise: float = 0.0) -> list[str]:
    """Write a package, and test it where bioimageio.core is installed.

    Parameters
    ----------
    model : str or Path
        Name or file of a trained model.
    out : str or Path
        New ``.zip`` file.
    noise : float
        Standard deviation of the noise that the network is told, as a share of
        the image's range.

    Returns
    -------
    list of str
        What the test found, a line each; empty where it passed.

    Raises
    ------
    InputError
        If `out` is no ``.zip`` file, or the noise is out of range.
    ModelError
        If the model cannot be exported, or the libraries are not installed.
    OutputError
        If `out` exists, or cannot be written.
    """
    out = Path(out)
    if out.suffix != ".zip":
        msg = f"{out.name} must end in .zip"
        raise InputError(msg)
    if not 0 <= noise <= 1:
        msg = f"the noise is a share of the image's range, from 0 to 1, got {noise!r}"
        raise InputError(msg)
    if out.exists():
        msg = f"{out} exists already: choose another name, or remove it first"
        raise OutputError(msg)
    check_folder(out.parent)
    try:
        import bioimageio.core as library
        import onnxruntime
        import yaml
    except ImportError:
        msg = 'packages are written with bioimageio: pip install "napari-hrsr[bioimageio]"'
        raise ModelError(msg) from None
    original = load_model(model)
    if not isinstance(original, NetworkUpscaler) or original.spec.weights is None:
        msg = f"{model} has no network of ours to export"
        raise ModelError(msg)
    spec = original.spec
    graph = onnx_graph(original, noise)
    image, tested = _test_image(spec)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"image": tested})
    files = {
        "weights.onnx": graph,
        "test_input.npy": _npy(image),
        "test_output.npy": _npy(result),
        ATTACHED: _own_file(original, out),
        "README.md": _documentation(spec, noise).encode(),
    }
    description = describe_package(spec, files)
    files["rdf.yaml"] = yaml.safe_dump(description, sort_keys=False, allow_unicode=True).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with partial_file(out, buffer.tell()) as file:
        file.write(buffer.getvalue())
    summary = library.test_model(out)
    if summary.status == "passed":
        return []
    return [
        f"{detail.name}: {error.msg}" for detail in summary.details for error in detail.errors
    ] or [f"the test says: {summary.status}"]


def onnx_graph(model: NetworkUpscaler, noise: float) -> bytes:
    """Return a network as ONNX, with free spatial axes.

    Parameters
    ----------
    model : NetworkUpscaler
        In float32, on the CPU.
    noise : float
        See `export_package`.
    """
    ndim = model.spec.ndim
    letters = dict(enumerate("zyx"[-ndim:], start=2))
    example = torch.rand(1, model.spec.channels, *(11, 13, 15)[:ndim])
    buffer = io.BytesIO()
    # With gradients, layers take the paths that every program knows.
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _AtOneLevel(model, noise).eval(),
            (example,),
            # Its stub says path; it takes a file as well.
            cast("Any", buffer),
            dynamo=False,
            input_names=["image"],
            output_names=["result"],
            dynamic_axes={"image": letters, "result": {k: v.upper() for k, v in letters.items()}},
            opset_version=_OPSET,
        )
    return buffer.getvalue()


def describe_package(spec: ModelSpec, files: dict[str, bytes]) -> dict[str, Any]:
    """Return the description of a package, in version 0.5 of the format.

    Parameters
    ----------
    spec : ModelSpec
        Of the model.
    files : dict of str to bytes
        All others in the package.
    """

    def entry(name: str) -> dict[str, str]:
        return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}

    letters = "zyx"[-spec.ndim :]
    names = ["red", "green", "blue", "alpha"][: spec.channels] if spec.channels > 1 else ["grey"]
    first = [
        {"type": "batch", "size": 1},
        {"type": "channel", "channel_names": names},
    ]
    given = [
        {"type": "space", "id": a, "size": {"min": max(_LEAST[spec.ndim], m), "step": k}}
        for a, k, m in zip(letters, spec.multiple, spec.minimum, strict=True)
    ]
    made = [
        {
            "type": "space",
            "id": a,
            "scale": 1 / k,
            "size": {"tensor_id": "image", "axis_id": a},
        }
        for a, k in zip(letters, spec.scale, strict=True)
    ]
    axes = [*letters] if spec.channels == 1 else ["channel", *letters]
    low, high = spec.percentiles
    scaling = {"axes": axes, "min_percentile": low, "max_percentile": high}
    return {
        "type": "model",
        "format_version": "0.5.4",
        "name": f"napari-hrsr {spec.name}",
        "description": spec.title,
        "authors": [{"name": "The napari-hrsr developers"}],
        "cite": [
            {"text": spec.citation or spec.title, "url": "https://pypi.org/project/napari-hrsr"}
        ],
        "license": spec.licence,
        "documentation": entry("README.md"),
        "attachments": [entry(ATTACHED)],
        "tags": ["super-resolution", "image-restoration", f"{spec.ndim}d", "pytorch"],
        "inputs": [
            {
                "id": "image",
                "axes": [*first, *given],
                "test_tensor": entry("test_input.npy"),
                "data": {"type": "float32"},
                "preprocessing": [{"id": "scale_range", "kwargs": scaling}],
            }
        ],
        "outputs": [
            {
                "id": "result",
                "axes": [*first, *made],
                "test_tensor": entry("test_output.npy"),
                "data": {"type": "float32"},
            }
        ],
        "weights": {"onnx": {**entry("weights.onnx"), "opset_version": _OPSET}},
    }


def _test_image(spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return part of a sample image, and what the network gets of it."""
    sample = read_sample("cells" if spec.ndim == 2 else "volume").astype(np.float32)
    side = _TEST_SIDE[spec.ndim]
    crop = sample[tuple(slice(0, min(side, n)) for n in sample.shape)]
    image = np.ascontiguousarray(np.broadcast_to(crop, (1, spec.channels, *crop.shape)))
    low, high = np.percentile(image, spec.percentiles)
    return image, ((image - low) / (high - low + 1e-6)).astype(np.float32)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _own_file(model: NetworkUpscaler, out: Path) -> bytes:
    path = out.with_name(f".{out.stem}-{os.getpid()}.safetensors")
    try:
        save_model(model.network, model.spec, path, dtype=torch.float32)
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


def _documentation(spec: ModelSpec, noise: float) -> str:
    told = f"The network is told noise of {noise:g} of the range. " if spec.noise_input else ""
    gains = [
        f"- {kind}: {gain:+.2f} dB over {gain_baseline(spec)}" for kind, gain in spec.gains.items()
    ]
    return "\n".join(
        [
            f"# {spec.title}",
            "",
            *([f"**{spec.caution}**", ""] if spec.caution else []),
            f"Factor {' x '.join(map(str, spec.scale))}. {told}The result is in the scaled range: "
            f"0 and 1 are the percentiles {spec.percentiles[0]:g} and {spec.percentiles[1]:g} of "
            "the image. napari-hrsr reads its own file in this package, measures the noise, and "
            "gives values of the image.",
            "",
            f"Trained on: {spec.trained_on}",
            "",
            "## Validation",
            "",
            *(gains or ["Not measured."]),
            "",
        ]
    )
