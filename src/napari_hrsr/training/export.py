"""Write a model in reduced precision, and say what that costs and what it buys.

``bfloat16`` and ``float16`` store weights in 16 bits, as trained models are
anyway, so the file hardly changes. What changes is what ``upscale`` computes in
where nobody says: 16 bits on devices that have instructions for them (most
GPUs; processors with AVX512-BF16, AMX or AVX512-FP16), where it takes about
half the time, float32 everywhere else. ``int8`` halves the file and changes
nothing else; see `napari_hrsr.models.quantised`.

Measured on the samples ``cells`` and ``volume``, binned by two, with models of
57 000 and 46 000 parameters, on a processor without such instructions; decibels
against the original's result in float32, decibels lost against the truth:

    weights     file, 2D    in float32, 2D    3D               in 16 bits, 2D    3D
    float16     117 kB      the same          the same         79 dB, 0.00       80 dB, 0.00
    bfloat16    117 kB      84 dB, 0.00       78 dB, 0.00      61 dB, 0.02       62 dB, 0.01
    int8        62 kB       72 dB, -0.01      61 dB, -0.01

There, 16 bits took twice (bfloat16) to 80 times (float16) as long as float32,
which is why a run does not choose them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from napari_hrsr.devices import Placement, is_fast, resolve_device
from napari_hrsr.errors import InputError, ModelError, OutputError
from napari_hrsr.files.partial import check_folder, partial_file
from napari_hrsr.forward import ForwardModel
from napari_hrsr.models.load import NetworkUpscaler, load_model
from napari_hrsr.models.spec import ModelSpec, Upscaler
from napari_hrsr.models.user_models import install_model
from napari_hrsr.samples import find_sample, read_sample
from napari_hrsr.training.model_file import save_model
from napari_hrsr.training.patches import Pair, black_and_white, make_pair
from napari_hrsr.training.recording import Degradation, degrade
from napari_hrsr.training.speed import make_runner, megapixel_seconds, run_whole
from napari_hrsr.training.validation import psnr

ExportPrecision = Literal["bfloat16", "float16", "int8"]

EXPORT_KEY = "napari_hrsr_export"
"""Where the header of an exported file keeps its `Exported`, as JSON."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a model makes of the sample, and how fast.

    Attributes
    ----------
    model : str
        ``"original"`` or ``"exported"``.
    computed_in : str
        Precision that was computed in.
    automatic : bool
        Whether that is what a run chooses on this device.
    psnr : float
        Of the result and the truth, in decibels for a peak of one.
    to_original : float or None
        Of the result and the original's in float32, in decibels; None for itself.
    seconds : float
        For a million pixels of the result.
    """

    model: str
    computed_in: str
    automatic: bool
    psnr: float
    to_original: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Exported:
    """An exported model, with what the export costs and buys.

    Attributes
    ----------
    file : str
        The exported model.
    precision : str
        Of its weights.
    original : str
        Name of the model it was made from.
    original_size, size : int
        Bytes of both files.
    sample : str
        Image of known truth that quality was measured on.
    device : str
        Where quality and speed were measured, and on how many threads.
    measurements : tuple of Measurement
        Of the original first.
    """

    file: str
    precision: str
    original: str
    original_size: int
    size: int
    sample: str
    device: str
    measurements: tuple[Measurement, ...]

    @property
    def lost(self) -> float:
        """Decibels lost to the original, in what a run chooses on this device."""
        return self.measurements[0].psnr - self._chosen.psnr

    @property
    def speed(self) -> float:
        """How many times as fast as the original a run is on this device."""
        return self.measurements[0].seconds / self._chosen.seconds

    @property
    def _chosen(self) -> Measurement:
        return next(m for m in self.measurements[1:] if m.automatic)

    def speed_line(self) -> str:
        """Say what the speed on this device is, and where a difference is chance."""
        measured = f"{self.speed:.2f} times the original's, on {self.device}"
        if self._chosen.computed_in == self.measurements[0].computed_in:
            return f"speed: as the original's, by the same computation (measured {measured})"
        return f"speed: {measured}"

    def table(self) -> str:
        """Return the measurements as a table in Markdown."""
        lines = [
            "| model | computed in | dB | to the original | s per megapixel |",
            "| --- | --- | --- | --- | --- |",
        ]
        for m in self.measurements:
            near = "" if m.to_original is None else f"{m.to_original:.1f} dB"
            note = "" if m.automatic else " (not chosen here: it is slower)"
            lines.append(
                f"| {m.model} | {m.computed_in}{note} | {m.psnr:.3f} | {near} | {m.seconds:.2g} |"
            )
        return "\n".join(lines)


def export_model(
    model: str | Path,
    out: str | Path,
    *,
    precision: str,
    device: str = "auto",
    install: bool = False,
) -> Exported:
    """Write a model with its weights in reduced precision, and measure what that changes.

    Parameters
    ----------
    model : str or Path
        Name or file of a trained model.
    out : str or Path
        New ``.safetensors`` file; the model is named after it. A card of the
        same name and the suffix ``.md`` is written beside it.
    precision : str
        ``"bfloat16"``, ``"float16"`` or ``"int8"``.
    device : str
        Where to measure; as for ``upscale``.
    install : bool
        List the exported model in the widgets.

    Returns
    -------
    Exported
        Quality, speed and size beside the original's.

    Raises
    ------
    InputError
        If the precision is unknown, or `out` is no ``.safetensors`` file.
    ModelError
        If there is no such model, it cannot be read, or it has no weights.
    OutputError
        If `out` or its card exists, or cannot be written.

    Examples
    --------
    >>> napari_hrsr.export_model("yeast", "yeast-int8.safetensors", precision="int8").size
    ... # doctest: +SKIP
    60120
    """
    out = Path(out)
    card = out.with_suffix(".md")
    if precision not in get_args(ExportPrecision):
        msg = f"unknown precision {precision!r}: choose {', '.join(get_args(ExportPrecision))}"
        raise InputError(msg)
    if out.suffix != ".safetensors":
        msg = f"{out.name} must end in .safetensors, by which models are known"
        raise InputError(msg)
    for path in (out, card):
        if path.exists():
            msg = f"{path} exists already: choose another name, or remove it first"
            raise OutputError(msg)
    check_folder(out.parent)
    place = resolve_device(device)
    original = load_model(model)
    if not isinstance(original, NetworkUpscaler) or original.spec.weights is None:
        msg = f"{model} has no weights to store in another precision"
        raise ModelError(msg)
    spec = replace(
        original.spec,
        name=out.stem,
        title=f"{original.spec.title}, {precision} weights",
        precision="float32" if precision == "int8" else precision,
    )
    dtype: torch.dtype = getattr(torch, precision)
    if dtype == torch.float16 and not _fits_half(original):
        msg = f"{model} has weights beyond the largest number of float16: choose bfloat16"
        raise ModelError(msg)
    save_model(original.network, spec, out, dtype=dtype)
    try:
        done = _measure(original, out, precision, place)
        # Once more, with the measurements in the header; a file cannot hold its own size.
        facts = {k: v for k, v in asdict(done).items() if k != "size"}
        save_model(
            original.network, spec, out, dtype=dtype, metadata={EXPORT_KEY: json.dumps(facts)}
        )
        done = replace(done, size=out.stat().st_size)
        text = export_card(spec, done).encode()
        with partial_file(card, len(text)) as file:
            file.write(text)
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    if install:
        install_model(out)
    return done


def _fits_half(model: NetworkUpscaler) -> bool:
    return all(bool(torch.isfinite(p.half()).all()) for p in model.parameters())


def _measure(
    original: NetworkUpscaler, out: Path, precision: str, device: torch.device
) -> Exported:
    exported = load_model(out)
    sample, pair = known_pair(original.spec)
    own: torch.dtype = getattr(torch, exported.spec.precision)
    places = [Placement(device), Placement(device)]
    if own != torch.float32:
        places.insert(1 if is_fast(device, own) else 2, Placement(device, own))
    models: list[Upscaler] = [original, *[exported] * (len(places) - 1)]
    runs = list(zip(models, places, strict=True))
    results = [_result(upscaler, place, pair) for upscaler, place in runs]
    truth = torch.from_numpy(pair.fine)
    seconds = megapixel_seconds(runs, original.spec.channels)
    measurements = tuple(
        Measurement(
            "original" if number == 0 else "exported",
            str(place.dtype).removeprefix("torch."),
            number < 2,
            round(psnr(results[number], truth.reshape(results[number].shape)), 3),
            None if number == 0 else round(psnr(results[number], results[0]), 2),
            float(f"{seconds[number]:.3g}"),
        )
        for number, place in enumerate(places)
    )
    weights = original.spec.weights
    threads = f", {torch.get_num_threads()} thread(s)" if device.type == "cpu" else ""
    return Exported(
        file=out.name,
        precision=precision,
        original=original.spec.name,
        original_size=weights.size if weights else 0,
        size=out.stat().st_size,
        sample=sample,
        device=f"{device}{threads}",
        measurements=measurements,
    )


def _result(model: Upscaler, place: Placement, pair: Pair) -> torch.Tensor:
    ndim = model.spec.ndim
    image = pair.coarse.reshape(-1, *pair.coarse.shape[pair.coarse.ndim - ndim :])
    return torch.from_numpy(run_whole(make_runner(model, place), image, pair.noise))


def known_pair(spec: ModelSpec) -> tuple[str, Pair]:
    """Return a sample image of this package, degraded as the model undoes it.

    Parameters
    ----------
    spec : ModelSpec
        Axes, channels and factor of the model. One that keeps the factor is
        given noise to remove, all others the mean over the area of each pixel.

    Returns
    -------
    name : str
        Key of `napari_hrsr.samples.SAMPLES`.
    pair : Pair
        Coarse image and truth; grey in all channels.
    """
    name = "cells" if spec.ndim == 2 else "volume"
    image = read_sample(find_sample(name).name).astype(np.float32)
    black, white = black_and_white(image)
    kept = tuple(slice(n // k * k) for n, k in zip(image.shape, spec.scale, strict=True))
    fine = (image[kept] - black) / (white - black)
    instrument = ForwardModel(spec.scale)
    degradation = Degradation(instrument)
    if max(spec.scale) == 1:
        degradation = Degradation(instrument, 200, 0.01)
    if spec.channels > 1:
        fine = np.repeat(fine[None], spec.channels, 0)
    coarse = degrade(fine, degradation, np.random.default_rng(0))
    return name, make_pair(coarse, fine, ndim=spec.ndim, instrument=instrument)


def export_card(spec: ModelSpec, done: Exported) -> str:
    """Write the card of an exported model.

    Parameters
    ----------
    spec : ModelSpec
        Its facts.
    done : Exported
        What was measured.

    Returns
    -------
    str
        Markdown.
    """
    lines: Sequence[str] = [
        f"# {spec.title}",
        "",
        *([f"**{spec.caution}**", ""] if spec.caution else []),
        f"- Name: `{spec.name}`, made from `{done.original}`, whose card holds for the rest",
        f"- Factor: {' x '.join(map(str, spec.scale))}",
        f"- Network: `{spec.architecture}`. {spec.citation}",
        f"- Licence of the weights: {spec.licence}",
        f"- File: {done.size} bytes; the original's: {done.original_size}",
        "",
        "## What the reduced precision costs and buys",
        "",
        f"Weights: {done.precision}. On the sample image `{done.sample}`, binned by the factor, "
        f"against the image itself (peak signal-to-noise ratio); measured on {done.device}, "
        "which may have had other work:",
        "",
        done.table(),
        "",
        f"- quality lost: {done.lost:.3f} dB",
        f"- {done.speed_line()}",
        "",
    ]
    return "\n".join(lines)
