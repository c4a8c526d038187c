"""Runs of the command line: memory, kills, a full disk, workers, parts and planning.

    python benchmarks/long_runs.py [--only memory kills disk workers parts planning overhead]

Every run is ``napari-hrsr upscale`` in a process of its own, on a volume of
noise, which no codec makes smaller. "Identical" compares the names and bytes of
all files of a result with those of an unbroken run of the same name. The
part ``disk`` mounts small file systems in memory, in a namespace of its own
(Linux, ``unshare -rm``). Figures so far are kept where a part is not measured
again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MIB = 2**20
MODEL = "cubic-2x2x2"
TILE = 16
NAME = "out.ome.zarr"


@dataclass
class Ended:
    """A process that has ended: what it took, and what it said."""

    status: int
    wall: float
    cpu: float
    peak: float
    told: str


class Run:
    """``napari-hrsr upscale`` in a process of its own."""

    def __init__(self, source: Path, target: Path, *options: str) -> None:
        self.folder = target.with_name(target.name + ".partial")
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "napari_hrsr.cli", "upscale", source, target, *options],
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, stderr=self._log, stdout=self._log,
        )  # fmt: skip
        self._ended: Ended | None = None

    def written(self) -> int:
        """Count the units that are recorded."""
        try:
            names = os.listdir(self.folder / "done")
        except FileNotFoundError:
            return 0
        return sum(name.endswith(".json") for name in names)

    def wait_for(self, units: int) -> bool:
        """Wait until so many are recorded; tell whether the run is still going on."""
        while self.written() < units:
            if self._look(os.WNOHANG):
                return False
            time.sleep(0.002)
        return not self._look(os.WNOHANG)

    def kill(self) -> None:
        """End it at once."""
        if not self._look(os.WNOHANG):
            os.kill(self.process.pid, signal.SIGKILL)

    def wait(self) -> Ended:
        """Wait for its end."""
        self._look(0)
        assert self._ended
        return self._ended

    def _look(self, flags: int) -> bool:
        if self._ended:
            return True
        found, status, used = os.wait4(self.process.pid, flags)
        if not found:
            return False
        wall = time.perf_counter() - self._started
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self._log.seek(0)
        told = " ".join(self._log.read().split())
        cpu = used.ru_utime + used.ru_stime
        self._ended = Ended(self.process.returncode, wall, cpu, used.ru_maxrss / 1024, told)
        return True


def finished(source: Path, target: Path, *options: str) -> Ended:
    """Run to the end, which must be a good one."""
    ended = Run(source, target, "--quiet", *options).wait()
    if ended.status:
        sys.exit(f"a run failed: {ended.told}")
    return ended


def tree(path: Path) -> dict[str, str]:
    """Return a digest of every file of a result."""
    files = (p for p in path.rglob("*") if p.is_file()) if path.is_dir() else (path,)
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def same(target: Path, expected: dict[str, str]) -> bool:
    """Tell whether a result is as expected, and nothing else lies beside it."""
    return tree(target) == expected and [p.name for p in target.parent.iterdir()] == [target.name]


def make_volume(path: Path, shape: tuple[int, int, int]) -> Path:
    """Write an OME-Zarr of noise, chunk by chunk: this process stays small."""
    import zarr

    group = zarr.create_group(path)
    chunks = tuple(min(64, n) for n in shape)
    array = group.create_array("0", shape=shape, chunks=chunks, dtype="u2")
    rng = np.random.default_rng(0)
    for z in range(0, shape[0], chunks[0]):
        slab = array[z : z + chunks[0]].shape
        array[z : z + chunks[0]] = rng.integers(0, 60_000, slab, np.uint16)
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    scale = {"type": "scale", "scale": [1.0, 0.5, 0.5]}
    levels = [{"path": "0", "coordinateTransformations": [scale]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": levels}]}
    return path


def place(folder: Path, name: str) -> Path:
    """Make an empty folder, and return where a result goes in it."""
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).mkdir()
    return folder / name / NAME


def measure_memory(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Compare a volume with one of eight times as many voxels."""
    rows = []
    for model, small in options.sizes:
        for times in (1, 2):
            shape = tuple(n * times for n in small)
            source = make_volume(folder / f"source-{times}.ome.zarr", shape)
            ended = finished(source, place(folder, "memory"), "--model", model)
            rows.append({"model": model, "shape": list(shape), **_took(ended)})
            print(rows[-1], file=sys.stderr, flush=True)
            shutil.rmtree(source)
            shutil.rmtree(folder / "memory")
    return {"rows": rows}


def _took(ended: Ended) -> dict[str, float]:
    return {"wall": ended.wall, "cpu": ended.cpu, "peak": ended.peak}


def measure_kills(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Kill runs at random times between their first unit and their end."""
    source = make_volume(folder / "source.ome.zarr", (64, 128, 128))
    settings = ("--model", MODEL, "--tile", str(TILE))
    target = place(folder, "unbroken")
    run = Run(source, target, "--quiet", *settings)
    run.wait_for(1)
    before = time.perf_counter()
    run.wait()
    length = time.perf_counter() - before
    expected = tree(target)
    rng = random.Random(0)
    found: dict[str, Any] = {"length": length, "units": [], "identical": 0, "late": 0}
    while len(found["units"]) < options.kills:
        target = place(folder, "killed")
        run = Run(source, target, "--quiet", *settings)
        run.wait_for(1)
        time.sleep(rng.uniform(0, length))
        run.kill()
        if run.wait().status == 0:
            found["late"] += 1
            continue
        found["units"].append(run.written())
        early = target.exists() and tree(target) != expected
        finished(source, target, "--resume", *settings)
        found["identical"] += same(target, expected) and not early
        print(found, file=sys.stderr, flush=True)
    return found


def measure_disk(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Do what follows where file systems may be mounted."""
    command = ["unshare", "-rm", sys.executable, __file__, "--mounted", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    # The messages name the mounted disk, which is elsewhere on every machine.
    return json.loads(done.stdout.splitlines()[-1].replace(str(folder / "disk"), "DISK"))


def fill_disks(folder: Path) -> dict[str, Any]:
    """Let another program fill the disk: while units are written, and while the file is."""
    source = make_volume(folder / "source.ome.zarr", (64, 192, 192))
    settings = ("--model", MODEL, "--tile", str(TILE))
    rows = []
    for name, moment in (
        (NAME, "half of the units"),
        ("out.ome.tif", "half of the units"),
        ("out.ome.tif", "all units"),
    ):
        target = place(folder, "unbroken").with_name(name)
        run = Run(source, target, "--quiet", *settings)
        total = 0
        while run.wait_for(total + 1):
            total = run.written()
        expected = tree(target)
        disk = folder / "disk"
        disk.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", disk], check=True)
        run = Run(source, disk / name, "--quiet", *settings)
        wanted = total // 2 if moment.startswith("half") else total - 1
        run.wait_for(wanted)
        _fill(disk / "ballast")
        ended = run.wait()
        kept, early = run.written(), (disk / name).exists()
        again = Run(source, disk / name, "--quiet", "--resume", *settings).wait()
        subprocess.run(["mount", "-o", "remount,size=400m", disk], check=True)
        finished(source, disk / name, "--resume", *settings)
        (disk / "ballast").unlink()
        good = same(disk / name, expected) and not early
        rows.append(
            {"result": name, "moment": moment, "status": ended.status, "told": ended.told,
             "units": total, "kept": kept, "again": again.told, "identical": good}
        )  # fmt: skip
        print(rows[-1], file=sys.stderr, flush=True)
        subprocess.run(["umount", disk], check=True)
    return {"rows": rows}


def _fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", 0) as file:
        for size in (MIB, 4096):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def measure_workers(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Kill one of three workers in mid-run."""
    source = make_volume(folder / "source.ome.zarr", (64, 128, 128))
    settings = ("--model", MODEL, "--tile", str(TILE))
    target = place(folder, "unbroken")
    finished(source, target, *settings)
    expected = tree(target)
    target = place(folder, "workers")
    run = Run(source, target, "--quiet", "--workers", "3", *settings)
    run.wait_for(3)
    workers = [
        child
        for child in psutil.Process(run.process.pid).children(recursive=True)
        if any("spawn_main" in word for word in child.cmdline())
    ]
    written = run.written()
    workers[0].kill()
    ended = run.wait()
    return {"workers": len(workers), "written": written, "status": ended.status,
            "told": ended.told, "identical": same(target, expected)}  # fmt: skip


def measure_parts(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run three parts at once."""
    source = make_volume(folder / "source.ome.zarr", (64, 128, 128))
    settings = ("--model", MODEL, "--tile", str(TILE))
    target = place(folder, "unbroken")
    finished(source, target, *settings)
    expected = tree(target)
    target = place(folder, "parts")
    runs = [Run(source, target, "-q", "--part", f"{n}/3", *settings) for n in (1, 2, 3)]
    ended = [run.wait() for run in runs]
    return {"status": [one.status for one in ended], "told": [one.told for one in ended],
            "identical": same(target, expected)}  # fmt: skip


def measure_planning(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Plan a run of more than 100,000 tiles, in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--plan"], stdout=subprocess.PIPE, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def plan() -> dict[str, Any]:
    """Plan, group, list every unit and the place of every tile; measure it."""
    import dask.array

    from napari_hrsr.jobs import plan_job
    from napari_hrsr.runs.units import group_tiles

    plan_job(np.zeros((20, 20, 20), np.uint16), MODEL, tile=16, device="cpu")
    data = dask.array.zeros((752, 752, 752), dtype="u2", chunks=256)
    process = psutil.Process()
    before, started = process.memory_info().rss, time.perf_counter()
    job = plan_job(data, MODEL, tile=16, device="cpu")
    units = group_tiles(job.total, job.placement.batch)
    listed = list(units)
    planned = time.perf_counter() - started
    regions = [job.region_of(tile) for tile in range(job.total)]
    everything = time.perf_counter() - started
    grown = (process.memory_info().rss - before) / MIB
    assert len(regions) == job.total == listed[-1].stop
    return {"tiles": job.total, "units": len(listed), "planned": planned,
            "regions": everything, "grown": grown}  # fmt: skip


def measure_overhead(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Hand out blocks that take a second each, and compare with the ideal."""
    source = make_volume(folder / "source.ome.zarr", (48, 64, 64))
    done = subprocess.run(
        [sys.executable, __file__, "--sleep", str(source)], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def sleep_blocks(source: Path, workers: int = 2, seconds: float = 1.0) -> dict[str, Any]:
    """Have the units of a run computed by workers that sleep instead."""
    import distributed

    from napari_hrsr.cluster.leader import Leader
    from napari_hrsr.cluster.workers import Workers
    from napari_hrsr.file_planning import Settings
    from napari_hrsr.runs.stored import begin_run

    folder = source.parent / "sleeping.ome.zarr.partial"
    folder.mkdir()
    settings = Settings(model=MODEL, tile=8)
    run = begin_run(folder, source, source.parent / "sleeping.ome.zarr", settings)
    count = 40 * workers
    # Numbers are all that matters: there need not be as many units.
    found: dict[str, Any] = {"workers": workers, "units": count, "seconds": seconds}
    with (
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, host="127.0.0.1",
            dashboard_address="127.0.0.1:0", memory_limit=0,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        client.run(_sleep_instead, seconds)
        leader = Leader(client, run, Workers(workers), lambda tiles: None, lambda: False)
        started = time.perf_counter()
        leader.lead(list(range(2 * workers)))
        found["first"] = time.perf_counter() - started - 2 * seconds
        started, cpu = time.perf_counter(), time.process_time()
        leader.lead(list(range(count)))
        wall = time.perf_counter() - started
        found["cpu"] = (time.process_time() - cpu) / count
        found["overhead"] = wall / (count / workers * seconds) - 1
    return found


def _sleep_instead(seconds: float) -> None:
    from napari_hrsr.cluster import worker
    from napari_hrsr.runs.computing import UnitDone

    def slept(run: Any, unit: int) -> UnitDone:
        time.sleep(seconds)
        return UnitDone(unit, 1, seconds)

    worker.run_unit = slept


PARTS: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "memory": measure_memory,
    "kills": measure_kills,
    "disk": measure_disk,
    "workers": measure_workers,
    "parts": measure_parts,
    "planning": measure_planning,
    "overhead": measure_overhead,
}


def table(found: dict[str, Any]) -> str:
    """Write what was measured as Markdown."""
    lines = ["# Long runs", ""]
    if rows := found.get("memory", {}).get("rows"):
        lines += ["## Memory", "", "Peak resident memory of the process and its time, with the",
                  "voxels, and with eight times as many.", "",
                  "| model | source | peak MiB | times | wall s | times | processor s | times |",
                  "|---|---|---|---|---|---|---|---|"]  # fmt: skip
        for first, row in zip(rows[::2], rows[1::2], strict=True):
            for one in (first, row):
                figures = []
                for key in ("peak", "wall", "cpu"):
                    ratio = "" if one is first else f"{row[key] / first[key]:.2f}"
                    figures.append(f"{one[key]:.{0 if key == 'peak' else 1}f} | {ratio}")
                size = " x ".join(map(str, one["shape"]))
                lines.append(f"| {one['model']} | {size} | {' | '.join(figures)} |")
        lines.append("")
    if kills := found.get("kills"):
        units = ", ".join(map(str, sorted(kills["units"])))
        lines += ["## Kills", "",
                  f"{len(kills['units'])} runs killed at random times of the "
                  f"{kills['length']:.1f} s after their first unit, each resumed once: "
                  f"**{kills['identical']} identical**.",
                  f"Units written when they were killed: {units}.", ""]  # fmt: skip
    if rows := found.get("disk", {}).get("rows"):
        lines += ["## A full disk", "", "| result | disk filled after | units kept | told "
                  "| resumed after space was made |", "|---|---|---|---|---|"]  # fmt: skip
        for row in rows:
            good = "identical" if row["identical"] else "DIFFERENT"
            lines.append(f"| {row['result']} | {row['moment']} | {row['kept']} of {row['units']} "
                         f"| exit {row['status']}: {row['told']} | {good} |")  # fmt: skip
        lines.append("")
    lines += _other_lines(found)
    return "\n".join(lines)


def _other_lines(found: dict[str, Any]) -> list[str]:
    words = {True: "identical", False: "DIFFERENT"}
    lines = []
    if one := found.get("workers"):
        lines += ["## Workers", "", f"{one['workers']} workers, one killed after "
                  f"{one['written']} units: exit {one['status']}, "
                  f"{words[one['identical']]}.", ""]  # fmt: skip
    if one := found.get("parts"):
        lines += ["## Parts", "", f"Parts 1/3 to 3/3 started at once: exits {one['status']}, "
                  f"{words[one['identical']]}.", ""]  # fmt: skip
    if one := found.get("planning"):
        lines += ["## Planning", "",
                  f"{one['tiles']} tiles in {one['units']} units: planned in "
                  f"{one['planned']:.2f} s, with the place of every tile in "
                  f"{one['regions']:.2f} s; memory grows by {one['grown']:.0f} MiB.",
                  ""]  # fmt: skip
    if one := found.get("overhead"):
        lines += ["## Overhead of the scheduler", "",
                  f"{one['units']} blocks of {one['seconds']:g} s by {one['workers']} workers: "
                  f"{100 * one['overhead']:.1f} % more than the ideal time; "
                  f"{1000 * one['cpu']:.1f} ms of processor time per block for scheduler and "
                  f"client; {one['first']:.1f} s before until workers have opened the run.",
                  ""]  # fmt: skip
    return lines


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--networks", action="store_true", help="memory: general-3d-x2, too")
    parser.add_argument("--folder", type=Path, help="where results go; by default a temporary one")
    for hidden in ("--mounted", "--sleep"):
        parser.add_argument(hidden, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--plan", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.sizes = [(MODEL, (64, 256, 256))]
    if options.networks:
        options.sizes.append(("general-3d-x2", (32, 96, 96)))
    inner = (options.mounted and (lambda: fill_disks(options.mounted))) or (
        options.sleep and (lambda: sleep_blocks(options.sleep))
    )
    if inner or options.plan:
        print(json.dumps((inner or plan)()))
        return
    path = RESULTS / "long_runs.json"
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for part in options.only:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            found[part] = PARTS[part](Path(folder), options)
        print(part, found[part], file=sys.stderr, flush=True)
        path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    path.with_suffix(".md").write_text(table(found), "utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
