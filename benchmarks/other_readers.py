"""Our OME-Zarr read by others, and theirs by us.

    pip install --target FOLDER ome-zarr
    pip install --target FOLDER --no-deps napari-ome-zarr
    xvfb-run -a python benchmarks/other_readers.py FOLDER

Images are upscaled from the command line into OME-Zarr 0.5; ome-zarr-py and
napari with the plugin napari-ome-zarr open them. Every level is compared with
the mean of the blocks of the finest one, to a count, and its scale and its
translation with those that keep its edges on the edges of the source. The other
way round, ome-zarr-py writes OME-Zarr 0.4 and 0.5, and we read it.

FOLDER is looked at after the packages of this Python, which therefore come first.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from napari_hrsr.cli import app
from napari_hrsr.files import read_image, write_image
from napari_hrsr.metadata import ImageMetadata

RESULTS = Path(__file__).resolve().parent / "results" / "other_readers.md"
SCALES = {"T": 2.0, "C": 1.0, "Z": 0.5, "Y": 0.25, "X": 0.2}
ORIGINS = {"T": 0.0, "C": 0.0, "Z": 3.0, "Y": -1.0, "X": 7.5}
UNITS = {"T": "second", "C": "pixel", "Z": "micrometer", "Y": "micrometer", "X": "micrometer"}
CASES = {
    "YX": ((420, 330), "lanczos-2x2"),
    "ZYX": ((20, 300, 280), "cubic-2x2x2"),
    "CYX": ((3, 300, 310), "cubic-2x2"),
    "TCZYX": ((2, 2, 9, 290, 280), "cubic-2x2x2"),
}


@dataclass(frozen=True)
class Level:
    """One level as a reader sees it."""

    pixels: np.ndarray
    scale: tuple[float, ...]
    translation: tuple[float, ...]


def make(folder: Path, axes: str) -> tuple[Path, ImageMetadata]:
    """Upscale an image from the command line; return the result and the source's geometry."""
    shape, model = CASES[axes]
    image = np.random.default_rng(0).integers(0, 60_000, shape).astype(np.uint16)
    metadata = ImageMetadata(
        axes,
        tuple(SCALES[a] for a in axes),
        tuple(ORIGINS[a] for a in axes),
        tuple(UNITS[a] for a in axes),
    )
    source, target = folder / f"{axes}.ome.tif", folder / f"{axes}.ome.zarr"
    write_image(source, image, metadata)
    arguments = ["upscale", str(source), str(target), "--model", model, "--quiet"]
    done = CliRunner().invoke(app, arguments)
    if done.exit_code:
        sys.exit(done.output)
    return target, read_image(source).metadata


def by_ome_zarr(path: Path) -> list[Level]:
    """Read with ome-zarr-py."""
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    (node, *_) = Reader(parse_url(path))()
    levels = []
    transformations = node.metadata["coordinateTransformations"]
    for array, entries in zip(node.data, transformations, strict=True):
        found = {entry["type"]: entry[entry["type"]] for entry in entries}
        zeros = [0.0] * len(found["scale"])
        levels.append(
            Level(np.asarray(array), tuple(found["scale"]), tuple(found.get("translation", zeros)))
        )
    return levels


def by_napari(path: Path) -> list[Level]:
    """Open in napari with the plugin; its layers hold the channels one by one."""
    import napari

    viewer = napari.Viewer(show=False)
    try:
        layers = viewer.open(path, plugin="napari-ome-zarr")
        first = layers[0]
        data = first.data if first.multiscale else [first.data]
        levels = []
        for number in range(len(data)):
            pixels = np.stack(
                [np.asarray(layer.data[number] if layer.multiscale else layer.data)
                 for layer in layers]
            )  # fmt: skip
            # napari has no place for the geometry of the smaller levels.
            origin = np.array(first.data_to_world((0,) * first.ndim))
            step = np.array(first.data_to_world((1,) * first.ndim)) - origin
            levels.append(Level(pixels, tuple(step), tuple(origin)))
        return levels
    finally:
        viewer.close()


def expected(path: Path, source: ImageMetadata, shape: tuple[int, ...]) -> Iterator[Level]:
    """Yield what the levels ought to be, from the finest and the source alone."""
    import zarr

    fine = np.asarray(zarr.open_array(path / "0", mode="r"))
    factors = np.array(fine.shape) / shape
    scale = np.array(source.scale) / factors
    edge = np.array(source.translate) - np.array(source.scale) / 2
    group = zarr.open_group(path, mode="r")
    for key in sorted(group.array_keys(), key=int):
        bins = np.rint(np.array(fine.shape) / np.array(group[key].shape)).astype(int)
        pixels = binned(fine, bins)
        step = scale * bins
        yield Level(pixels, tuple(step), tuple(edge + step / 2))


def binned(image: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Return means of blocks; at the end of an axis of what there is."""
    result = image.astype(np.float64)
    for axis, n in enumerate(bins):
        starts = np.arange(0, result.shape[axis], n)
        counts = np.diff([*starts, result.shape[axis]])
        sums = np.add.reduceat(result, starts, axis)
        result = sums / counts.reshape([-1 if i == axis else 1 for i in range(result.ndim)])
    return result


def compare(found: list[Level], wanted: list[Level], axes: str, finest_only: bool) -> list[str]:
    """Say how far the levels are from what they ought to be."""
    if len(found) != len(wanted):
        return [f"{len(found)} levels, not {len(wanted)}", "", "", ""]
    kept = [i for i, a in enumerate(axes) if not (finest_only and a == "C")]
    pixels = scale = place = 0.0
    for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
        theirs = one.pixels
        if finest_only:
            theirs = np.moveaxis(theirs, 0, axes.index("C")) if "C" in axes else theirs[0]
        if theirs.shape != other.pixels.shape:
            return [f"level {number} is {theirs.shape}, not {other.pixels.shape}", "", "", ""]
        pixels = max(pixels, float(np.abs(theirs - other.pixels).max()))
        if finest_only and number:
            continue
        ours = np.array(other.scale)[kept], np.array(other.translation)[kept]
        scale = max(scale, float(np.abs(np.array(one.scale) / ours[0] - 1).max()))
        place = max(place, float((np.abs(np.array(one.translation) - ours[1]) / ours[0]).max()))
    return [str(len(found)), f"{pixels:.2f}", f"{scale:.1e}", f"{place:.1e}"]


def read_theirs(folder: Path, version: str) -> list[str]:
    """Have ome-zarr-py write an image with its geometry, and read it."""
    import zarr
    from ome_zarr import format as formats
    from ome_zarr.writer import write_multiscale

    axes = "CZYX"
    image = np.random.default_rng(1).integers(0, 60_000, (2, 6, 64, 80)).astype(np.uint16)
    levels = [image, image[:, :, ::2, ::2]]
    units = {"Z": "micrometer", "Y": "micrometer", "X": "micrometer"}
    described = [
        {"name": a.lower(), "type": "space", "unit": units[a]} if a in units
        else {"name": "c", "type": "channel"}
        for a in axes
    ]  # fmt: skip
    steps = [SCALES[a] for a in axes]
    places = [ORIGINS[a] for a in axes]
    transformations = [
        [
            {"type": "scale", "scale": [*steps[:2], *(n * step for step in steps[2:])]},
            {"type": "translation", "translation": places},
        ]
        for n in (1, 2)
    ]
    path = folder / f"theirs-{version}.ome.zarr"
    kind = {"0.4": formats.FormatV04, "0.5": formats.FormatV05}[version]()
    group = zarr.open_group(path, mode="w", zarr_format=kind.zarr_format)
    write_multiscale(
        levels, group, fmt=kind, axes=described, coordinate_transformations=transformations
    )
    back = read_image(path)
    same = np.array_equal(np.asarray(back.data), image)
    good = (
        back.metadata.axes == axes
        and np.allclose(back.metadata.scale, steps)
        and np.allclose(back.metadata.translate, places)
        and back.metadata.units == ("pixel", *["micrometer"] * 3)
    )
    return ["identical" if same else "DIFFERENT", "the same" if good else "DIFFERENT"]


READERS: dict[str, Callable[[Path], list[Level]]] = {
    "ome-zarr-py": by_ome_zarr,
    "napari, napari-ome-zarr": by_napari,
}


def main() -> None:
    """Print the tables and write them into the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("packages", type=Path, help="where ome-zarr and napari-ome-zarr lie")
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS))
    options = parser.parse_args()
    sys.path.append(str(options.packages))
    lines = [
        "# Other readers of OME-Zarr", "",
        "Ours, upscaled, read by others: largest difference of any level from the means of the",
        "finest one (counts of 65,535), of its scale (relative) and of its place (pixels).",
        "napari keeps scale and place of the finest level only, and none for channels; its plugin",
        "napari-ome-zarr 0.10 takes the first transformation of a level, which is the scale, and",
        "leaves out the translation of any file: its images lie at the origin.", "",
        "| image | reader | levels | pixels | scale | place |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for axes, (shape, _) in CASES.items():
            path, source = make(folder, axes)
            wanted = list(expected(path, source, shape))
            for reader in options.readers:
                found = READERS[reader](path)
                figures = compare(found, wanted, axes, finest_only=reader.startswith("napari"))
                lines.append(f"| {axes} | {reader} | {' | '.join(figures)} |")
                print(lines[-1], file=sys.stderr, flush=True)
        lines += ["", "Theirs, written by ome-zarr-py, read by us:", "",
                  "| version | pixels | axes, scale, translation, units |", "|---|---|---|",
                  ]  # fmt: skip
        lines += [f"| {v} | {' | '.join(read_theirs(folder, v))} |" for v in ("0.4", "0.5")]
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
