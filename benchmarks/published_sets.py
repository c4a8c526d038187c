"""Set5, Set14 and B100 by the protocol of the published tables.

    python benchmarks/published_sets.py --images FOLDER --scale 2 --out RESULTS

Nothing is downloaded. FOLDER holds Set5, Set14 and B100 (or BSD100, BSDS100)
with the high-resolution images as PNG or BMP, or in the layout of SelfExSR
(Huang et al. 2015), whose low-resolution images are then used as they are.

The protocol: luminance as MATLAB's rgb2ycbcr makes it, rounded to 8 bits;
cropped to a multiple of the factor; reduced by MATLAB's antialiased bicubic
imresize and rounded; a border as wide as the factor left out; PSNR against
255 and SSIM with a Gaussian window, as means over the images of a set.
Bicubic interpolation must then give what was published; if it is off by more
than 0.03 dB in any set, the exit code is 1.

The models run as in use: they are told the noise that is measured in the
low-resolution image. ``--noise 0`` tells them that it is clean, as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from linear_filter import LinearFilter
from matlab_resize import enlarge, shrink
from published_protocol import (
    COUNTS,
    FOLDERS,
    PUBLISHED,
    TOLERANCE,
    Example,
    crop_to_multiple,
    find_files,
    image_files,
    luminance,
    measure,
    read_example,
    read_image,
    to_uint8,
)

import napari_hrsr
from napari_hrsr.training.collection import open_collection

Method = Callable[[Example], np.ndarray]
Means = dict[str, dict[str, tuple[float, float]]]
"""Set -> method -> mean PSNR and SSIM; a set that was not found is left out."""


def bicubic(scale: int) -> Method:
    """Return MATLAB's bicubic interpolation."""
    return lambda example: to_uint8(enlarge(example.coarse, scale))


def model_method(model: Any, scale: int, noise: str | float) -> Method:
    """Return a model as a method; one for colour images sees the colours.

    Parameters
    ----------
    model : str or Upscaler
        Name, file or loaded model.
    scale : int
        Factor that is measured.
    noise : "auto" or float
        Standard deviation of the noise that the model is told, in grey values.

    Raises
    ------
    HrsrError
        If there is no such model.
    ValueError
        If its factor is another one.
    """
    upscaler = napari_hrsr.load_model(model) if isinstance(model, str) else model
    spec = upscaler.spec
    if spec.scale != (scale, scale):
        msg = f"model {spec.name!r} upscales by {spec.scale}, not by {scale} in 2D"
        raise ValueError(msg)

    def upscale(example: Example) -> np.ndarray:
        if spec.channels == 1:
            return napari_hrsr.upscale(example.coarse, upscaler, noise=noise)
        image = example.coloured
        grey = image.ndim == 2
        if grey:
            image = np.repeat(image[..., None], 3, axis=2)
        result = napari_hrsr.upscale(image, upscaler, axes="YXS", noise=noise)
        return to_uint8(result.mean(axis=2)) if grey else luminance(result)

    return upscale


def linear_method(folder: Path, scale: int) -> Method:
    """Return the linear filter of 7 x 7 pixels that fits the images of a folder best.

    Parameters
    ----------
    folder : Path
        Fine images: a folder with ``2d`` and ``3d`` in it as the models are
        trained on, or PNG, BMP, TIFF and JPG files.
    scale : int
        Factor.

    Raises
    ------
    ValueError
        If there is no image in the folder.
    """
    rng = np.random.default_rng(0)
    linear = LinearFilter((scale, scale), 3)
    count = 0
    for fine in _fine_images(folder):
        truth = crop_to_multiple(fine, scale)
        linear.add(shrink(truth, scale), truth, rng)
        count += 1
    if not count:
        msg = f"no image in {folder}: give a folder of PNG, BMP, TIFF or JPG files"
        raise ValueError(msg)
    linear.fit()
    return lambda example: to_uint8(linear(example.coarse.astype(np.float64)))


def _fine_images(folder: Path) -> Iterator[np.ndarray]:
    if (folder / "2d").is_dir():
        for image in open_collection([folder], ndim=2).images:
            yield image.read([slice(None)] * 2).astype(np.float64)
    else:
        for path in image_files(folder):
            yield luminance(read_image(path)) / 255


def measure_set(
    files: Sequence[tuple[Path, Path | None]], methods: dict[str, Method], scale: int
) -> list[dict[str, object]]:
    """Return one row for each image and method."""
    rows: list[dict[str, object]] = []
    for fine, coarse in files:
        example = read_example(fine, coarse, scale)
        for name, method in methods.items():
            psnr, ssim = measure(method(example), example.fine, scale)
            rows.append({"image": example.name, "method": name, "psnr": psnr, "ssim": ssim})
    return rows


def table(means: Means, methods: Sequence[str], scale: int) -> list[str]:
    """Return a markdown table: methods down, sets across, PSNR / SSIM in the cells.

    Parameters
    ----------
    means : dict
        Set -> method -> mean PSNR and SSIM; a set that was not found is left out.
    methods : sequence of str
        In the order of the rows; the first is bicubic.
    scale : int
        Factor; it chooses the published figures.
    """
    published = PUBLISHED.get(scale, {})
    cells = {"bicubic, published": published}
    cells |= {m: {s: means[s][m] for s in means} for m in methods}
    lines = [f"| x{scale} | " + " | ".join(FOLDERS) + " |", "| --- |" + " --- |" * len(FOLDERS)]
    for method, by_set in cells.items():
        texts = []
        for name in FOLDERS:
            text = "{:.2f} / {:.4f}".format(*by_set[name]) if name in by_set else "not measured"
            if method == "bicubic" and name in means and name in published:
                off = by_set[name][0] - published[name][0]
                text += " ✓" if abs(off) <= TOLERANCE else f" ✗ off by {off:+.2f} dB"
            texts.append(text)
        lines.append(f"| {method} | " + " | ".join(texts) + " |")
    return lines


def is_off(means: Means, scale: int) -> bool:
    """Tell whether bicubic differs from what was published in any set."""
    return any(
        abs(means[name]["bicubic"][0] - psnr) > TOLERANCE
        for name, (psnr, _) in PUBLISHED.get(scale, {}).items()
        if name in means
    )


def measure_all(
    images: Path, methods: dict[str, Method], scale: int
) -> tuple[list[dict[str, object]], Means, list[str]]:
    """Measure every set that is there.

    Returns
    -------
    rows : list of dict
        One for each set, image and method.
    means : dict
        Set -> method -> mean PSNR and SSIM.
    remarks : list of str
        What is missing.
    """
    rows: list[dict[str, object]] = []
    means: Means = {}
    remarks = []
    for name, files in find_files(images, scale).items():
        if not files:
            places = " or ".join(FOLDERS[name])
            remarks.append(f"{name} is missing: no image for x{scale} in {places} of {images}")
            continue
        if len(files) != COUNTS[name]:
            remarks.append(f"{name} has {len(files)} images instead of {COUNTS[name]}")
        measured = measure_set(files, methods, scale)
        rows += [{"set": name, **row} for row in measured]
        means[name] = {
            method: (
                float(np.mean([row["psnr"] for row in measured if row["method"] == method])),
                float(np.mean([row["ssim"] for row in measured if row["method"] == method])),
            )
            for method in methods
        }
    return rows, means, remarks


def trained_models(scale: int) -> list[str]:
    """Name the trained 2D models that ship for a factor."""
    specs = napari_hrsr.list_models(ndim=2, task="upscale")
    return [
        spec.name
        for spec in specs
        if spec.weights and spec.scale == (scale, scale) and spec.channels == 1
    ]


def main() -> int:
    """Parse the command line, measure, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="folder with Set5, Set14, B100")
    parser.add_argument("--scale", type=int, choices=sorted(PUBLISHED), default=2)
    parser.add_argument(
        "--model", nargs="+", metavar="NAME|FILE", help="default: all trained ones of the factor"
    )
    parser.add_argument("--noise", default="auto", help="what the models are told, grey values")
    parser.add_argument("--linear-from", type=Path, metavar="DATA", help="fits a linear filter")
    parser.add_argument("--out", type=Path, help="folder for the results")
    options = parser.parse_args()
    scale = options.scale
    models = trained_models(scale) if options.model is None else options.model
    methods = {"bicubic": bicubic(scale)}
    try:
        noise = options.noise if options.noise == "auto" else float(options.noise)
        if options.linear_from is not None:
            methods["linear filter 7 x 7"] = linear_method(options.linear_from, scale)
        for model in [f"back-projection-{scale}x{scale}", *models]:
            methods[model] = model_method(model, scale, noise)
        rows, means, remarks = measure_all(options.images, methods, scale)
    except (napari_hrsr.HrsrError, ValueError, OSError) as error:
        parser.error(str(error))
    lines = [*table(means, list(methods), scale), "", *remarks]
    print("\n".join(lines))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        stem = options.out / f"published_sets_x{scale}"
        stem.with_suffix(".md").write_text("\n".join(lines) + "\n", "utf-8")
        stem.with_suffix(".json").write_text(json.dumps(rows, indent=1), "utf-8")
    if not means:
        return 2
    return int(is_off(means, scale))


if __name__ == "__main__":
    sys.exit(main())
