"""What is known of a model, in words."""

from __future__ import annotations

from collections.abc import Iterator

from napari_hrsr.models.spec import ModelSpec

_PROGRAMS = {"torchscript": "TorchScript", "python": "Python"}


_DOING = {
    "upscale": "Upscaling",
    "denoise": "Denoising",
    "deblur": "Deblurring",
    "enhance": "Enhancing",
}


def doing(spec: ModelSpec) -> str:
    """Say what is being done while a model runs, for example ``"Denoising"``.

    Parameters
    ----------
    spec : ModelSpec
        Of a chain, what its last model does is said.
    """
    return _DOING.get(spec.task, "Running")


def gain_baseline(spec: ModelSpec) -> str:
    """Say over what the gains of a model were measured.

    Parameters
    ----------
    spec : ModelSpec
        Its facts.
    """
    return "cubic interpolation" if max(spec.scale) > 1 else "the image as it is"


def describe_model(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    """Say what is known of a model, a fact at a time.

    Parameters
    ----------
    spec : ModelSpec
        Its facts.

    Yields
    ------
    label, text : str
        For people.
    """
    yield "name", spec.name
    yield "title", spec.title
    yield "task", spec.task
    network = str(spec.arguments.get("network", spec.architecture))
    tags = str(spec.arguments.get("tags", ""))
    yield "network", f"{network} ({tags})" if tags else network
    if spec.arguments.get("runs") in _PROGRAMS:
        kind = _PROGRAMS[str(spec.arguments["runs"])]
        yield "program", f"{kind} of its author's, run in a process of its own"
    yield "factor", " x ".join(map(str, spec.scale))
    yield "channels", {1: "grey", 3: "colour (RGB)"}.get(spec.channels, str(spec.channels))
    yield "receptive field", _field(spec)
    if max(spec.multiple) > 1 or max(spec.minimum) > 1:
        sizes = (
            f"multiples of {max(spec.multiple)}, at least {max(spec.minimum)} (images are padded)"
        )
        yield "size", sizes
    if spec.weights is not None:
        yield "weights", f"{spec.weights.size / 1e6:.3g} MB, sha256 {spec.weights.sha256}"
    if "file" in spec.arguments:
        yield "came as", str(spec.arguments["file"])
    yield "licence", spec.licence
    if spec.trained_on:
        yield "trained on", spec.trained_on
    if spec.citation:
        yield "source", spec.citation
    for kind, gain in spec.gains.items():
        yield f"gain, {kind}", f"{gain:+.2f} dB over {gain_baseline(spec)}"
    if not spec.gains and spec.weights is not None:
        yield "gain", "not measured"
    if spec.caution:
        yield "caution", spec.caution


def _field(spec: ModelSpec) -> str:
    measured = spec.arguments.get("field")
    if spec.halo is None:
        text = "the whole image; tiles are faded into each other"
    else:
        text = f"{' x '.join(str(2 * h + 1) for h in spec.halo)} source pixels; tiles are exact"
    return f"{text} (measured: {measured})" if measured else text
