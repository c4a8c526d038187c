"""Load and tile every network architecture that the installed spandrel knows.

    python benchmarks/published_networks.py

Each is built in a small configuration with random weights, saved as ``.pth``,
loaded by its file alone, and run on an image as one tile and as several.
Random weights depend on more than trained ones do, so a halo found here is a
hard case. Writes ``results/published_networks.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import platform
import resource
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import spandrel
import torch
from torch import nn

from napari_hrsr import load_model
from napari_hrsr.errors import ModelFileError
from napari_hrsr.intensity import Intensity
from napari_hrsr.jobs import plan_job, start_job
from napari_hrsr.models.receptive_field import EXACT
from napari_hrsr.models.spec import Upscaler

RESULTS = Path(__file__).parent / "results"
SIDE = 150
"""Side of the image, in pixels; a multiple of nothing that a network could need."""

SWIN = {"embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 8, "mlp_ratio": 2}
CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "Compact": ("Compact", {"num_feat": 8, "num_conv": 3, "upscale": 2}),
    "SwiftSRGAN": ("SwiftSRGAN", {"num_channels": 8, "num_blocks": 2, "upscale_factor": 2}),
    "HAT": ("HAT", {**SWIN, "img_size": 16, "upscale": 2, "squeeze_factor": 4}),
    "GRL": (
        "GRL",
        {
            "img_size": 64, "embed_dim": 16, "depths": [2], "num_heads_window": [2],
            "num_heads_stripe": [2], "mlp_ratio": 2, "upscale": 2,
            "upsampler": "pixelshuffledirect",
        },
    ),
    "Swin2SR": ("Swin2SR", {**SWIN, "img_size": 16, "upsampler": "pixelshuffledirect"}),
    "SwinIR": ("SwinIR", {**SWIN, "img_size": 16, "upscale": 2, "upsampler": "pixelshuffledirect"}),
    "GFPGAN": ("GFPGAN", {"narrow": 0.125, "channel_multiplier": 1, "num_style_feat": 64}),
    "RestoreFormer": ("RestoreFormer", {"ch": 32, "embed_dim": 64, "z_channels": 64}),
    "LaMa": ("LaMa", {"in_nc": 4}),
    "OmniSR": ("OmniSR", {"num_feat": 16, "up_scale": 2}),
    "SCUNet": ("SCUNet", {"config": [1, 1, 1, 1, 1, 1, 1], "dim": 64}),
    "FBCNN": ("FBCNN", {"nc": [8, 16, 16, 512], "nb": 2}),
    "Uformer": (
        "Uformer",
        {"embed_dim": 8, "depths": [1] * 9, "num_heads": [1] * 9, "img_size": 128},
    ),
    "RGT": ("RGT", {"embed_dim": 16, "depth": [2], "num_heads": [2], "mlp_ratio": 2}),
    "DAT": (
        "DAT",
        {
            "embed_dim": 16, "depth": [2], "num_heads": [2], "split_size": [8, 8],
            "expansion_factor": 2,
        },
    ),
    "CRAFT": ("CRAFT", {"embed_dim": 12, "depths": [2], "num_heads": [2], "upscale": 2}),
    "KBNet": (
        "KBNet_s",
        {
            "width": 8, "middle_blk_num": 1, "enc_blk_nums": [1, 1, 1, 1],
            "dec_blk_nums": [1, 1, 1, 1],
        },
    ),
    "DITN": ("DITN", {"dim": 8, "ITL_blocks": 1, "SAL_blocks": 1, "upscale": 2}),
    "MMRealSR": (
        "MMRealSR",
        {
            "num_in_ch": 3, "num_out_ch": 3, "scale": 4, "num_feat": 16, "num_block": 1,
            "num_grow_ch": 8, "num_feats": [8, 8, 16, 16], "num_blocks": [1, 1, 1, 1],
        },
    ),
    "SPAN": ("SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 16, "upscale": 2}),
    "RealCUGAN": ("UpCunet2x", {}),
    "SAFMN": ("SAFMN", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2}),
    "SAFMNBCIE": ("SAFMNBCIE", {"dim": 16, "n_blocks": 1, "num_layers": 2}),
    "DCTLSA": ("DCTLSA", {"nf": 20, "num_modules": 6, "upscale": 2, "num_head": 5}),
    "FFTformer": ("FFTformer", {"dim": 8, "num_blocks": [1, 1, 1], "num_refinement_blocks": 1}),
    "NAFNet": (
        "NAFNet",
        {"width": 8, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]},
    ),
    "ATD": (
        "ATD",
        {
            "embed_dim": 16, "depths": [2], "num_heads": [2], "window_size": 8, "num_tokens": 8,
            "category_size": 64, "reducted_dim": 4, "upscale": 2, "upsampler": "pixelshuffledirect",
        },
    ),
    "MixDehazeNet": ("MixDehazeNet", {"embed_dims": [8, 16, 32, 16, 8], "depths": [1] * 5}),
    "DRUNet": ("DRUNet", {"in_nc": 2, "out_nc": 1, "nc": [8, 16, 16, 16], "nb": 2}),
    "DnCNN": ("DnCNN", {"nc": 16, "nb": 17, "act_mode": "R"}),
    "IPT": (
        "IPT",
        {"patch_size": 24, "n_feats": 12, "num_layers": 1, "scale": [2], "num_heads": 12},
    ),
    "DRCT": (
        "DRCT",
        {
            "embed_dim": 16, "depths": (6,), "num_heads": (2,), "window_size": 8, "gc": 8,
            "upscale": 2, "upsampler": "pixelshuffle",
        },
    ),
    "ESRGAN": ("ESRGAN", {"num_filters": 8, "num_blocks": 1, "scale": 4}),
    "PLKSR": ("PLKSR", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2}),
    "RetinexFormer": ("RetinexFormer", {"n_feat": 8, "stage": 1}),
    "HVICIDNet": ("HVICIDNet", {"channels": [8, 8, 16, 32], "heads": [1, 2, 4, 8]}),
    "SeemoRe": ("SeemoRe", {"scale": 2, "num_experts": 3, "num_layers": 1, "embedding_dim": 16}),
    "MoSR": ("MoSR", {"upscale": 2, "n_block": 2, "dim": 16}),
    "MoESR": ("MoESR", {"scale": 2, "dim": 16, "n_blocks": 1, "n_block": 1}),
    "RCAN": (
        "RCAN",
        {"scale": 2, "n_resgroups": 1, "n_resblocks": 2, "n_feats": 16, "reduction": 4},
    ),
    "FDAT": (
        "FDAT",
        {
            "scale": 2, "embed_dim": 16, "num_groups": 1, "depth_per_group": 1, "num_heads": 2,
            "mid_dim": 16,
        },
    ),
    "AuraSR": (
        "AuraSR",
        {
            "dim": 8, "image_size": None, "input_image_size": None, "skip_connect_scale": 0.4,
            "style_network": {"dim_in": 16, "dim_out": 64, "depth": 2}, "attn_depths": (1,) * 5,
            "mid_attn_depth": 1,
        },
    ),
}  # fmt: skip
"""Class and arguments of a small network, by spandrel's name of its architecture."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of one architecture.

    Attributes
    ----------
    architecture : str
        As spandrel calls it.
    parameters : int
        Numbers in the saved file.
    loading : float
        Processor seconds to check, build and measure it.
    refused : str
        Why it cannot be used, or empty; what follows is then empty too.
    factor, channels, halo, multiple
        As in its `ModelSpec`.
    kind : str
        "exact", "fading" or "unbounded".
    measured : str
        What the receptive field's measurement says.
    difference : float
        Largest difference between the tiled result and the whole, in the
        model's range.
    reported : float
        What the engine says that faded tiles differ by, in the model's range.
    contrast : float
        Standard deviation of the whole result: a dead network would have none.
    tiles : int
        How many the image was cut into.
    """

    architecture: str
    parameters: int
    loading: float
    refused: str = ""
    factor: int = 0
    channels: int = 0
    halo: int | None = None
    multiple: int = 0
    kind: str = ""
    measured: str = ""
    difference: float = 0.0
    reported: float = 0.0
    contrast: float = 0.0
    tiles: int = 0


def build(architecture: str) -> nn.Module:
    """Build a small network of an architecture, with weights that let the image through."""
    class_name, arguments = CONFIGURATIONS[architecture]
    torch.manual_seed(0)
    network: nn.Module = getattr(
        importlib.import_module(f"spandrel.architectures.{architecture}"), class_name
    )(**arguments)
    enliven(network)
    return network


def enliven(network: nn.Module) -> None:
    """Give every layer weights with which a signal neither dies nor grows.

    Many networks begin as the identity, with scales of zero, or with weights
    so small that nothing arrives at the end: then any tiling would be exact.
    """
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            if not weight.is_floating_point() or weight.numel() == 0:
                continue
            fan_in = weight[0].numel() if weight.ndim > 1 else 1
            if fan_in > 1 and float(weight.std()) > 0:
                drawn = torch.randn(weight.shape, generator=generator)
                weight.copy_(drawn / math.sqrt(fan_in))
            elif weight.ndim > 1 and float(weight.abs().max()) < 1e-2:
                weight.fill_(0.3)


def examine(architecture: str, folder: Path) -> Row:
    """Save, load, run and tile a network of an architecture."""
    network = build(architecture)
    path = folder / f"{architecture}.pth"
    state = network.state_dict()
    torch.save(state, path)
    parameters = sum(tensor.numel() for tensor in state.values())
    del network, state
    started = time.process_time()
    try:
        model = load_model(path)
    except ModelFileError as error:
        return Row(architecture, parameters, time.process_time() - started, str(error))
    finally:
        path.unlink()
    loading = time.process_time() - started
    spec = model.spec
    image = waves(SIDE, spec.channels)
    whole, _, _ = upscaled(model, image, 2 * SIDE)
    tiled, reported, tiles = upscaled(model, image, 50)
    measured = str(spec.arguments["field"])
    kind = "unbounded"
    if spec.halo is not None:
        kind = "fading" if measured.startswith("fading") else "exact"
    return Row(
        architecture,
        parameters,
        loading,
        factor=spec.scale[0],
        channels=spec.channels,
        halo=None if spec.halo is None else max(spec.halo),
        multiple=max(spec.multiple),
        kind=kind,
        measured=measured,
        difference=float(np.abs(tiled - whole).max()),
        reported=reported,
        contrast=float(whole.std()),
        tiles=tiles,
    )


def waves(side: int, channels: int) -> np.ndarray:
    """Return an image of waves of many lengths with some noise, from 0 to 1."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    parts = [
        np.sin(y * a + x * b + c)
        for a, b, c in zip(rng.normal(0, 0.4, 8), rng.normal(0, 0.4, 8), range(8), strict=True)
    ]
    image = (
        0.5 + np.sum(parts, axis=0)[..., None] / 20 + rng.normal(0, 0.02, (side, side, channels))
    )
    image = np.clip(image, 0, 1).astype(np.float32)
    return image if channels > 1 else image[..., 0]


def upscaled(model: Upscaler, image: np.ndarray, tile: int) -> tuple[np.ndarray, float, int]:
    """Return the result of a run, what its tiles differ by, and their number."""
    axes = "YXS" if image.ndim == 3 else "YX"
    job = plan_job(image, model, axes=axes, tile=tile)
    out = np.zeros(job.shape, np.float32)
    # Black and white of the model's range, so that all is told in it.
    intensity = Intensity(np.array(0.0), np.array(1.0), np.array(0.05))
    records = list(start_job(job, out, intensity))
    return out, max(record.difference for record in records), job.total


def report(rows: list[Row]) -> str:
    """Write the table and what it says."""
    used = [row for row in rows if not row.refused]
    lines = [
        "# Published networks",
        "",
        f"Made by `python benchmarks/published_networks.py` with spandrel {spandrel.__version__}, "
        f"torch {torch.__version__}, one thread. Every architecture in a small configuration with "
        f"random weights, on an image of {SIDE} x {SIDE} pixels in tiles of 50; differences from "
        "the same network run on the whole image, in the model's range (0 to 1). Random weights "
        "make results of any contrast (a trained network: about 0.2).",
        "",
        f"{len(used)} of {len(rows)} architectures are loaded and tiled.",
        "",
        "| architecture | numbers | factor | channels | halo | multiple | tiles are "
        "| tiled - whole | tiles differ by | contrast | loading, s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in used:
        halo = "none" if row.halo is None else str(row.halo)
        reported = "" if row.halo is not None else f"{row.reported:.1e}"
        lines.append(
            f"| {row.architecture} | {row.parameters:,} | {row.factor} | {row.channels} | {halo} "
            f"| {row.multiple} | {row.kind} | {row.difference:.1e} | {reported} "
            f"| {row.contrast:.2g} | {row.loading:.1f} |"
        )
    lines += [
        "",
        "exact: nothing beyond the halo has an influence. fading: at most a millionth of the "
        f"influence lies beyond it, and a tile was measured to equal the whole to {EXACT:g}. "
        "unbounded: the network looks at the whole image; its tiles are faded into each other, "
        "and what they differ by is measured during each run and recorded.",
        "",
        "Refused:",
        "",
        *[f"- {row.architecture}: {row.refused}" for row in rows if row.refused],
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Examine all architectures, or those that are named, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="architectures to measure again (default: all)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.nice(5)
    warnings.simplefilter("ignore")
    names = [support.architecture.id for support in spandrel.MAIN_REGISTRY.architectures()]
    missing = set(names) - set(CONFIGURATIONS)
    if missing:
        parser.error(f"no configuration for {', '.join(sorted(missing))}")
    table = RESULTS / "published_networks.json"
    rows: dict[str, Row] = {}
    seconds = 0.0
    if arguments.names and table.exists():
        known = json.loads(table.read_text("utf-8"))
        rows = {facts["architecture"]: Row(**facts) for facts in known["rows"]}
        seconds = known["processor_seconds"]
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.names or names:
            rows[name] = examine(name, Path(folder))
            print(rows[name], flush=True)
            facts = {
                "spandrel": spandrel.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
                "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                "processor_seconds": round(seconds + time.process_time()),
                "rows": [asdict(rows[key]) for key in sorted(rows, key=str.lower)],
            }
            table.write_text(json.dumps(facts, indent=1), "utf-8")
            ordered = [rows[key] for key in sorted(rows, key=str.lower)]
            table.with_suffix(".md").write_text(report(ordered), "utf-8")
    print(report(ordered))


if __name__ == "__main__":
    main()
