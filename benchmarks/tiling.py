"""Tiles against the whole image and against MONAI: time, memory and error.

    python benchmarks/tiling.py --make-monai --markdown TABLE.md

Every contestant runs the same shipped network on the same image, each time in
a fresh process; the order rotates from repetition to repetition. Processor
seconds are compared, because other programs disturb them least. Peak memory
counts from the start of the run and includes the result.

MONAI has its own environment, by default ``.venv-monai``; ``--make-monai``
makes it, which is the same as::

    python -m venv .venv-monai
    .venv-monai/bin/pip install torch==VERSION monai safetensors psutil
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
CASES = {
    "2d": ("general-2d-x2", (2048, 2048)),
    "3d": ("general-3d-x2", (64, 192, 192)),
}
CONTESTANTS = {
    "ours": "napari-hrsr",
    "untiled": "untiled torch",
    "monai-constant": "MONAI, constant",
    "monai-gaussian": "MONAI, Gaussian",
    "limit": "limit: tiles without halo, result dropped",
}
MIB = 2**20


def make_image(shape: tuple[int, ...]) -> np.ndarray:
    """Return a float32 image with edges, texture and noise, from 0 to 1."""
    rng = np.random.default_rng(0)
    axes = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij", sparse=True)
    waves = sum(np.sin(a * (0.11 + 0.07 * i)) for i, a in enumerate(axes)) / len(shape)
    edges = np.ones((), bool)
    for axis in axes:
        edges = edges ^ (axis % 37 < 18)
    image = 0.5 + 0.25 * waves + 0.15 * edges + 0.02 * rng.standard_normal(shape, np.float32)
    return np.clip(image, 0, 1).astype(np.float32)


def compete(case: str, contestant: str, result_file: str | None) -> dict[str, float]:
    """Run one contestant in this process and measure it."""
    from napari_hrsr.jobs import plan_job
    from napari_hrsr.models.load import load_model

    name, shape = CASES[case]
    model = load_model(name)
    model.spec = replace(model.spec, normalisation="none")
    run = {
        "ours": run_ours,
        "untiled": run_untiled,
        "monai-constant": run_monai,
        "monai-gaussian": run_monai,
        "limit": run_limit,
    }[contestant]
    small = make_image((32,) * len(shape))
    run(small, plan_job(small, model, device="cpu"), contestant)
    image = make_image(shape)
    job = plan_job(image, model, device="cpu")
    Path("/proc/self/clear_refs").write_text("5")
    before, wall, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
    result = run(image, job, contestant)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak, after = memory("VmHWM") - before, memory("VmRSS") - before
    if contestant == "limit":
        times = np.prod(shape) / np.prod(job.plan.read) / result.item()
        return {"wall": wall * times, "cpu": cpu * times}
    if result_file:
        np.save(result_file, result)
    kept = after - result.nbytes / MIB
    return {"wall": wall, "cpu": cpu, "peak": peak, "kept": kept}


def run_ours(image: np.ndarray, job: Any, _: str) -> np.ndarray:
    """Upscale tile by tile, in a worker thread as a viewer does."""
    from napari_hrsr.intensity import Intensity
    from napari_hrsr.jobs import start_job

    out = np.empty(job.shape, np.float32)
    intensity = Intensity(np.zeros(()), np.ones(()), np.zeros(()))

    def drain() -> None:
        for _ in start_job(job, out, intensity):
            pass

    worker = threading.Thread(target=drain)
    worker.start()
    worker.join()
    return out


def network(job: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the network in the layout that is fastest in torch."""
    layout = torch.channels_last if job.model.spec.ndim == 2 else torch.contiguous_format
    model = job.model.to(memory_format=layout)
    level = torch.zeros(1, 1, *(1,) * job.model.spec.ndim)
    return lambda batch: model(batch.contiguous(memory_format=layout), noise=level)


def run_untiled(image: np.ndarray, job: Any, _: str) -> np.ndarray:
    """Give torch the whole image at once."""
    with torch.inference_mode():
        return network(job)(torch.from_numpy(image)[None, None])[0, 0].numpy()


def run_monai(image: np.ndarray, job: Any, contestant: str) -> np.ndarray:
    """Use MONAI's sliding window with our read shape, overlap and batch."""
    from monai.inferers import sliding_window_inference

    read = job.plan.read
    lengths = zip(job.plan.halo, read, image.shape, strict=True)
    overlap = [2 * h / n if n < whole else 0.0 for h, n, whole in lengths]
    with torch.inference_mode():
        result = sliding_window_inference(
            torch.from_numpy(image)[None, None],
            read,
            job.placement.batch,
            network(job),
            overlap=overlap,
            mode=contestant.removeprefix("monai-"),
        )
    return result[0, 0].numpy()


def run_limit(image: np.ndarray, job: Any, _: str) -> np.ndarray:
    """Run one tile several times, with memory kept; return how many times."""
    from napari_hrsr.memory import keep_memory

    crop = tuple(slice(0, n) for n in job.plan.read)
    tile = torch.from_numpy(np.ascontiguousarray(image[crop]))[None, None]
    run, count = network(job), max(1, round(image.size / tile.numel()))
    with keep_memory(), torch.inference_mode():
        for _ in range(count):
            run(tile)
    return np.array(count)


def memory(field: str) -> float:
    """Return VmRSS or VmHWM of this process in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(field)


def start(python: Path, case: str, contestant: str, result_file: Path | None) -> dict[str, float]:
    """Run one contestant in a fresh process."""
    command = [python, __file__, "--run", case, contestant, *([result_file] if result_file else [])]
    # Threads that sleep at barriers, not spin: processor seconds are then those of work.
    settings = {"PYTHONPATH": str(ROOT / "src"), "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        list(map(str, command)), env=os.environ | settings, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{contestant} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(case: str, pythons: dict[str, Path], repetitions: int) -> list[dict[str, Any]]:
    """Interleave the contestants; return medians and errors, one row each."""
    names = list(pythons)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, f"{name}.npy") for name in names}
        for repetition in range(repetitions):
            for name in names[repetition % len(names) :] + names[: repetition % len(names)]:
                first = repetition == 0 and name != "limit"
                runs[name].append(start(pythons[name], case, name, files[name] if first else None))
                print(f"  {case} {repetition} {name} {runs[name][-1]}", file=sys.stderr, flush=True)
        truth = np.load(files["untiled"])
        errors = {
            name: float(np.abs(np.load(files[name]) - truth).max())
            for name in names
            if name != "limit"
        }
    rows = []
    for name in names:
        medians = {k: statistics.median(run[k] for run in runs[name]) for k in runs[name][0]}
        rows.append({"name": name, "error": errors.get(name), **medians})
    return rows


def describe(case: str) -> str:
    """Say in one line what the contestants are given."""
    from napari_hrsr.jobs import plan_job

    name, shape = CASES[case]
    job = plan_job(np.empty(shape, np.float32), name, device="cpu")
    size = " x ".join(map(str, shape))
    read = " x ".join(map(str, job.plan.read))
    return (
        f"{size}, {name}, {len(job.plan)} reads of {read}, "
        f"{job.placement.batch} at a time; the result holds {job.nbytes / MIB:.0f} MiB"
    )


def tabulate(title: str, rows: list[dict[str, Any]]) -> str:
    """Write one case as a Markdown table."""
    ours = next(row for row in rows if row["name"] == "ours")
    lines = [
        f"{title}:",
        "",
        "| | processor s | wall s | time / ours | peak MiB | peak / ours | largest error |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        time_ = f"{row['cpu']:.1f} | {row['wall']:.1f} | {row['cpu'] / ours['cpu']:.2f}"
        rest = "- | - | -"
        if "peak" in row:
            rest = f"{row['peak']:.0f} | {row['peak'] / ours['peak']:.1f} | {row['error']:.1e}"
        lines.append(f"| {CONTESTANTS[row['name']]} | {time_} | {rest} |")
    lines += ["", f"Kept after our run beside the result: {ours['kept']:.0f} MiB."]
    return "\n".join(lines) + "\n"


def make_monai(folder: Path) -> None:
    """Make the environment in which MONAI runs."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    version = torch.__version__.partition("+")[0]
    needed = [f"torch=={version}", "monai", "safetensors", "psutil"]
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", *needed], check=True)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--monai-python", type=Path, default=ROOT / ".venv-monai/bin/python")
    parser.add_argument("--make-monai", action="store_true", help="make .venv-monai first")
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        case, contestant, *file = args.run
        print(json.dumps(compete(case, contestant, file[0] if file else None)))
        return
    if args.make_monai:
        make_monai(ROOT / ".venv-monai")
    pythons = {name: Path(sys.executable) for name in CONTESTANTS}
    text = ""
    if args.monai_python.exists():
        pythons |= {name: args.monai_python for name in pythons if name.startswith("monai")}
    else:
        pythons = {name: python for name, python in pythons.items() if "monai" not in name}
        text = f"MONAI is left out: there is no {args.monai_python.name} for it (--make-monai).\n\n"
    for case in args.cases:
        text += tabulate(describe(case), measure(case, pythons, args.repetitions)) + "\n"
    print(text)
    if args.markdown:
        args.markdown.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
