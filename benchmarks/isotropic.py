"""How well stacks are made isotropic: volumes that are known, made coarse along z.

    python benchmarks/isotropic.py --data DATA --out RESULTS [--minutes 3] [--volumes t1,ct]
        [--only x4,x2] [--peer --peer-python PYTHON]

Each volume of ``DATA/3d`` is nearly isotropic. It is recorded coarsely along z in
several ways (see `CASES`), and `make_isotropic` gets nothing but the coarse stack,
its voxel sizes and what the case tells it. The result is compared with the volume
as it was:

- peak signal-to-noise ratio over the whole volume, with the largest minus the
  smallest value of the true volume as the peak; structural similarity
  (scikit-image, window 7 x 7 x 7) for the same range;
- beside it the cubic B-spline (SciPy, outer edges aligned), and the same put right
  so that it gives the slices when it is sliced again, ``x + A' (A A')^-1 (y - A x)``,
  with the profile that the network assumes;
- seconds of processor and of clock for all of `make_isotropic`: measuring, learning
  and restoring;
- noise: the standard deviation between the results of two stacks that differ in
  their noise only, over the square root of two. The network that was learned from
  the first stack restores both;
- inconsistency: what the result, sliced again with the assumed profile, differs from
  the slices by, over what the slices differ from their mean by (root mean squares).

Results are written after each case to ``RESULTS/isotropic.json``; what is there
already for the same minutes and seed is not computed again.

With ``--peer`` the case ``x4`` is also restored by isotropic CARE (csbdeep, Weigert
et al. 2018), trained from the same stack for the same minutes with the same profile;
see ``isotropic_peer.py``, which runs in an environment of its own::

    python -m venv PEER && PEER/bin/pip install csbdeep tensorflow-cpu
    python benchmarks/isotropic.py ... --peer --peer-python PEER/bin/python

On a machine that is busy the peer's minutes are better those of the processor, so
many times as many as it has cores: ``--peer-minutes 6 --peer-processor``.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import zoom
from skimage.metrics import structural_similarity

from napari_hrsr import make_isotropic
from napari_hrsr.files import read_image
from napari_hrsr.forward import AxialProfile, slice_matrix
from napari_hrsr.isotropic.axial_model import read_axial_model

PEER = Path(__file__).with_name("isotropic_peer.py")
PEER_CASES = ("x4",)

VOLUMES = {
    "t1": ("MRI, T1 head", "datalad_t1_crop.ome.tif"),
    "ct": ("CT, aorta", "totalsegmentator__aorta_ct_cropped.nii.gz"),
    "fib": ("FIB-SEM, medulla", "flyem_medulla_s1_z128.ome.tif"),
    "ct2": ("CT, pulmonary artery", "totalsegmentator__pulmonary_ct_cropped.nii.gz"),
    "embryo": ("confocal, embryo", "dlegland__arabidopsis-embryo.tif"),
    "brain": ("light sheet, mouse brain", "brainreg_mouse_brain_crop.ome.tif"),
}
"""What each is, and its file."""

DEFAULT_VOLUMES = "t1,fib,ct"


@dataclass(frozen=True)
class Case:
    """A way to record a volume coarsely, and what is told about it.

    Attributes
    ----------
    title : str
        For people.
    factor : int
        Voxels of the volume from slice to slice.
    kind : str
        Of the slice profile, whose full width at half maximum is one distance
        of slices.
    told : float or None
        Width that is told, over the distance of the slices; None for nothing.
    noise : float
        Standard deviation of what is added to the slices, over the range of
        the volume from its 0.1st to its 99.9th percentile.
    """

    title: str
    factor: int = 4
    kind: str = "gaussian"
    told: float | None = 1.0
    noise: float = 0.0


CASES = {
    "x4": Case("x4 Gaussian"),
    "x2": Case("x2 Gaussian", factor=2),
    "x4-box": Case("x4 box", kind="box"),
    "x4-noise": Case("x4 Gaussian, 2 % noise", noise=0.02),
    "x4-narrow": Case("x4 Gaussian, told 25 % too narrow", told=0.75),
    "x4-wide": Case("x4 Gaussian, told 25 % too wide", told=1.25),
    "x4-estimated": Case("x4 Gaussian, width estimated", told=None),
}

GAINS = {
    "x4": {"t1": 2.5, "ct": 2.5, "fib": 1.5},
    "x2": {"t1": 2.5, "ct": 2.5, "fib": 2.5},
    "x4-box": {"t1": 1.5, "ct": 1.5, "fib": 1.5},
    "x4-noise": {"t1": 1.5, "ct": 1.5, "fib": 1.5},
}
"""Decibels over the B-spline that are aimed at."""


def read_truth(data: Path, name: str, factor: int) -> np.ndarray:
    """Read a volume, cropped along z to whole slices."""
    volume = np.asarray(read_image(data / "3d" / VOLUMES[name][1]).data[...]).astype(np.float32)
    return volume[: len(volume) // factor * factor]


def operator(profile: AxialProfile, factor: int, voxels: int) -> np.ndarray:
    """Return the matrix that makes slices."""
    return slice_matrix(profile, factor, voxels // factor, voxels)


def along_z(matrix: np.ndarray, volume: np.ndarray) -> np.ndarray:
    """Apply a matrix along z."""
    return np.tensordot(matrix.astype(np.float32), volume, (1, 0))


def record(truth: np.ndarray, case: Case, seed: int) -> np.ndarray:
    """Make the slices of a volume."""
    coarse = along_z(operator(AxialProfile(case.kind, 1.0), case.factor, len(truth)), truth)  # type: ignore[arg-type]
    if case.noise:
        sigma = case.noise * span(truth)
        coarse = coarse + np.random.default_rng(seed).normal(0.0, sigma, coarse.shape)
    return coarse.astype(np.float32)


def span(truth: np.ndarray) -> float:
    """Return the range that noise is stated over."""
    low, high = np.percentile(truth, (0.1, 99.9))
    return float(high - low)


def b_spline(coarse: np.ndarray, factor: int) -> np.ndarray:
    """Interpolate with the cubic B-spline."""
    return zoom(coarse, (factor, 1, 1), order=3, mode="nearest", grid_mode=True)


def project(volume: np.ndarray, coarse: np.ndarray, sliced: np.ndarray) -> np.ndarray:
    """Return the volume nearest to one that gives the slices exactly."""
    back = np.linalg.solve(sliced @ sliced.T, sliced).T
    return volume + along_z(back, coarse - along_z(sliced, volume))


def inconsistency(volume: np.ndarray, coarse: np.ndarray, sliced: np.ndarray) -> float:
    """Return the relative error of the slices of a result."""
    difference = along_z(sliced, volume).astype(float) - coarse
    return math.sqrt(float(np.mean(difference**2)) / float(coarse.astype(float).var()))


def compare(result: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return how near a result is to the truth."""
    peak = float(truth.max() - truth.min())
    error = float(np.mean((result.astype(float) - truth) ** 2))
    return {
        "psnr": 10 * math.log10(peak**2 / error),
        "ssim": float(structural_similarity(result, truth, data_range=peak)),
    }


def timed(task: Callable[[], np.ndarray]) -> tuple[np.ndarray, dict[str, float]]:
    """Run something, and return the seconds of processor and of clock beside its result."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = task()
    seconds = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return result, seconds


def measure(truth: np.ndarray, case: Case, minutes: float, seed: int) -> dict[str, Any]:
    """Restore one volume in one case, and measure the result."""
    coarse = record(truth, case, 1)
    asked: dict[str, Any] = {
        "spacing": (case.factor, 1, 1),
        "profile": case.kind,
        "fwhm": None if case.told is None else case.told * case.factor,
        "dtype": np.float32,
        "seed": seed,
    }
    with tempfile.TemporaryDirectory(prefix="isotropic-") as folder:
        kept = Path(folder) / "learned.safetensors"
        ours, seconds = timed(
            lambda: make_isotropic(coarse, minutes=minutes, save_model=kept, **asked)
        )
        facts = read_axial_model(kept).facts
        again = None
        if case.noise:
            second = record(truth, case, 2)
            again = second, make_isotropic(second, model=kept, **asked)
    sliced = operator(facts.profile, case.factor, len(truth))
    true = operator(AxialProfile(case.kind, 1.0), case.factor, len(truth))  # type: ignore[arg-type]
    spline = b_spline(coarse, case.factor)
    row: dict[str, Any] = {
        "shape": list(truth.shape),
        "peak": float(truth.max() - truth.min()),
        "threads": torch.get_num_threads(),
        "width": facts.profile.fwhm,
        "b-spline": compare(spline, truth),
        "projected": compare(project(spline, coarse, sliced), truth),
        "ours": compare(ours, truth) | seconds,
        "inconsistency": inconsistency(ours, coarse, sliced),
        "inconsistency with the true profile": inconsistency(ours, coarse, true),
    }
    if again is not None:
        second, restored = again
        range_ = span(truth)
        row["ours"]["noise"] = spread(ours, restored) / range_
        row["b-spline"]["noise"] = spread(spline, b_spline(second, case.factor)) / range_
    return row


def spread(first: np.ndarray, second: np.ndarray) -> float:
    """Return the noise of each of two results that differ in their noise only."""
    return float((first.astype(float) - second).std()) / math.sqrt(2)


def measure_peer(
    truth: np.ndarray, case: Case, minutes: float, seed: int, python: Path, *, processor: bool
) -> dict[str, Any]:
    """Restore one volume with the peer, and measure the result."""
    coarse = record(truth, case, 1)
    with tempfile.TemporaryDirectory(prefix="isotropic-peer-") as folder:
        stack, result = Path(folder) / "stack.npy", Path(folder) / "result.npy"
        np.save(stack, coarse)
        options = {"--factor": case.factor, "--minutes": minutes, "--seed": seed}
        words = [str(word) for pair in options.items() for word in pair]
        command = [str(python), str(PEER), str(stack), str(result), *words]
        command += ["--processor"] * processor
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"the peer failed:\n{done.stderr[-4000:]}")
        theirs = np.load(result)
        facts = json.loads(result.with_suffix(".json").read_text())
    sliced = operator(AxialProfile(case.kind, 1.0), case.factor, len(truth))  # type: ignore[arg-type]
    projected = compare(project(theirs, coarse, sliced), truth)
    return {
        **compare(theirs, truth),
        **facts,
        "minutes": minutes,
        "processor": processor,
        "projected psnr": projected["psnr"],
        "projected ssim": projected["ssim"],
    }


def verdict(row: Mapping[str, Any]) -> tuple[str, bool] | None:
    """Return what is aimed at in a case, and whether it is met."""
    case, ours, spline = row["case"], row["ours"], row["b-spline"]
    gain = ours["psnr"] - spline["psnr"]
    if case == "x4-narrow":
        over = ours["psnr"] - row["projected"]["psnr"]
        return f"above B-spline + projection ({over:+.2f} dB)", over > 0
    if case == "x4-wide":
        return f"above B-spline ({gain:+.2f} dB)", gain > 0
    wanted = GAINS.get(case, {}).get(row["volume"])
    if wanted is None:
        return None
    text, met = f"{wanted:+.1f} dB over B-spline ({gain:+.2f} dB)", gain >= wanted
    if case == "x4":
        more = ours["ssim"] - spline["ssim"]
        text, met = f"{text}, SSIM higher ({more:+.3f})", met and more > 0
    return text, met


def quality(values: Mapping[str, float]) -> str:
    """Return both measures of a result, for a cell of the table."""
    return f"{values['psnr']:.2f} / {values['ssim']:.3f}"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the results as lines of markdown."""
    heads = (
        "case", "width", "B-spline", "B-spline + projection", "ours", "gain", "CPU s", "wall s",
        "noise, ours / B-spline", "inconsistency",
    )  # fmt: skip
    lines: list[str] = []
    for volume in dict.fromkeys(row["volume"] for row in rows):
        chosen = [row for row in rows if row["volume"] == volume]
        shape, peak = " x ".join(map(str, chosen[0]["shape"])), chosen[0]["peak"]
        minutes, threads = chosen[0]["minutes"], chosen[0]["threads"]
        lines += [
            f"## {VOLUMES[volume][0]}, {shape}",
            "",
            f"Quality is PSNR in dB (peak {peak:g}) / SSIM. "
            f"Learned for {minutes:g} minutes, {threads} thread(s).",
            "",
            f"| {' | '.join(heads)} |",
            f"|{' --- |' * len(heads)}",
        ]
        for row in chosen:
            ours, spline = row["ours"], row["b-spline"]
            noise = ""
            if "noise" in ours:
                noise = f"{ours['noise']:.2%} / {spline['noise']:.2%}"
            cells = (
                CASES[row["case"]].title,
                f"{row['width']:.2f}",
                quality(spline),
                quality(row["projected"]),
                quality(ours),
                f"{ours['psnr'] - spline['psnr']:+.2f}",
                f"{ours['cpu']:.0f}",
                f"{ours['wall']:.0f}",
                noise,
                f"{row['inconsistency']:.1e}",
            )
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
        for row in chosen:
            lines += remarks(row)
        lines.append("")
    return lines


def remarks(row: Mapping[str, Any]) -> list[str]:
    """Return whether a target was met, and how the peer did, as items of a list."""
    title, found, lines = CASES[row["case"]].title, verdict(row), []
    if found is not None:
        text, met = found
        lines.append(f"- {title}: {'met' if met else 'MISSED'}: {text}")
    peer = row.get("peer")
    if peer is not None:
        gain = peer["psnr"] - row["b-spline"]["psnr"]
        lines.append(
            f"- {title}: isotropic CARE {quality(peer)} ({gain:+.2f} dB), with projection "
            f"{peer['projected psnr']:.2f} / {peer['projected ssim']:.3f}; "
            f"{peer['steps']} steps in {peer['minutes']:g} minutes"
            f"{' of processor time' if peer['processor'] else ''}, "
            f"{peer['cpu']:.0f} CPU s, {peer['wall']:.0f} wall s; "
            f"ours {row['ours']['psnr'] - peer['psnr']:+.2f} dB"
        )
    return lines


def names(known: Mapping[str, Any]) -> Callable[[str], list[str]]:
    """Return a parser of names with commas between them."""

    def parse(text: str) -> list[str]:
        found = [name.strip() for name in text.split(",")]
        wrong = [name for name in found if name not in known]
        if wrong:
            msg = f"{', '.join(wrong)}: known are {', '.join(known)}"
            raise argparse.ArgumentTypeError(msg)
        return found

    return parse


def main() -> None:
    """Parse the command line, measure what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of training images")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--minutes", type=float, default=3.0, help="to learn from each stack")
    parser.add_argument(
        "--only", type=names(CASES), default=list(CASES), help=f"cases, of {', '.join(CASES)}"
    )
    parser.add_argument(
        "--volumes",
        type=names(VOLUMES),
        default=DEFAULT_VOLUMES,
        help=f"of {', '.join(VOLUMES)}; default: {DEFAULT_VOLUMES}",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="default: as many as torch takes")
    parser.add_argument("--peer", action="store_true", help="run isotropic CARE as well")
    parser.add_argument("--peer-python", type=Path, help="interpreter that has csbdeep")
    parser.add_argument("--peer-minutes", type=float, help="default: those of --minutes")
    parser.add_argument(
        "--peer-processor", action="store_true", help="they are minutes of processor time"
    )
    options = parser.parse_args()
    if options.peer and options.peer_python is None:
        parser.error("--peer needs --peer-python: see the top of this file")
    peer_minutes, processor = options.peer_minutes or options.minutes, options.peer_processor
    if options.threads:
        torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "isotropic.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []

    def keep() -> None:
        rows.sort(key=lambda r: (list(VOLUMES).index(r["volume"]), list(CASES).index(r["case"])))
        part = path.with_suffix(".part")
        part.write_text(json.dumps(rows, indent=1))
        part.replace(path)

    wanted: list[dict[str, Any]] = []
    for volume in options.volumes:
        for name in options.only:
            case = CASES[name]
            key = {
                "volume": volume, "case": name, "minutes": options.minutes, "seed": options.seed,
            }  # fmt: skip
            truth = read_truth(options.data, volume, case.factor)
            row = next((r for r in rows if all(r[k] == v for k, v in key.items())), None)
            if row is None:
                row = key | measure(truth, case, options.minutes, options.seed)
                rows.append(row)
                keep()
            peer = row.get("peer", {})
            known = (peer.get("minutes"), peer.get("processor"))
            if options.peer and name in PEER_CASES and known != (peer_minutes, processor):
                row["peer"] = measure_peer(
                    truth, case, peer_minutes, options.seed, options.peer_python,
                    processor=processor,
                )  # fmt: skip
                keep()
            wanted.append(row)
            print("\n".join(table([row])), flush=True)
    print("\n".join(table(wanted)))
    alike = [r for r in rows if (r["minutes"], r["seed"]) == (options.minutes, options.seed)]
    (options.out / "isotropic.md").write_text("\n".join(table(alike)))


if __name__ == "__main__":
    main()
