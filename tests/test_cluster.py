"""Units computed by dask workers: real ones, on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from napari_hrsr.cluster import Workers, check_workers, connected, leader, worker
from napari_hrsr.errors import ComputeError, InputError, OutputError, PausedError
from napari_hrsr.file_planning import Settings
from napari_hrsr.files import write_image
from napari_hrsr.metadata import ImageMetadata
from napari_hrsr.upscale_file import Execution, upscale_file

distributed = pytest.importorskip("distributed")

pytestmark = [
    # Of sockets and loops that dask leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SETTINGS = Settings(model="cubic-2x2", tile=8)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=3,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
    ) as started:
        yield started


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.ome.zarr"
    image = np.random.default_rng(0).integers(0, 60_000, (6, 50, 40)).astype(np.uint16)
    metadata = ImageMetadata("CYX", (1.0, 0.5, 0.5), (0.0,) * 3, ("pixel",) * 3)
    write_image(path, image, metadata)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    return tmp_path / "results" / "out.ome.zarr"


def tree(path: Path) -> dict[str, str]:
    files = (p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture
def expected(source: Path, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "here").mkdir()
    upscale_file(source, tmp_path / "here" / "out.ome.zarr", SETTINGS)
    return tree(tmp_path / "here" / "out.ome.zarr")


def run(
    scheduler: Any,
    source: Path,
    target: Path,
    *,
    report: Callable[[str, int, int], None] = lambda what, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
    resume: bool = False,
) -> None:
    with connected(Workers(scheduler=scheduler.scheduler_address)) as compute:
        upscale_file(
            source, target, SETTINGS, execution=Execution(resume=resume, compute=compute),
            report=report, cancelled=cancelled,
        )  # fmt: skip


def test_workers_write_the_bytes_of_one_process(
    scheduler: Any, source: Path, target: Path, expected: dict[str, str]
) -> None:
    counts: list[tuple[int, int]] = []

    def report(what: str, done: int, total: int) -> None:
        if what == "Upscaling":
            counts.append((done, total))

    run(scheduler, source, target, report=report)
    assert tree(target) == expected
    assert counts == sorted(counts)
    assert counts[0] == (0, 210)
    assert counts[-1] == (210, 210)
    assert [p.name for p in target.parent.iterdir()] == [target.name]


def test_a_worker_that_is_killed_costs_nothing_but_time(
    scheduler: Any, source: Path, target: Path, expected: dict[str, str]
) -> None:
    with distributed.Client(scheduler, set_as_default=False) as client:
        processes = list(client.run(os.getpid).values())
    killed = []

    def report(what: str, done: int, total: int) -> None:
        if what == "Upscaling" and 0 < done < total and not killed:
            killed.append(processes[0])
            os.kill(processes[0], signal.SIGKILL)

    run(scheduler, source, target, report=report)
    assert killed
    assert tree(target) == expected


def test_cancel_stops_the_workers_and_the_run_goes_on_here(
    scheduler: Any, source: Path, target: Path, expected: dict[str, str]
) -> None:
    asked = threading.Event()

    def report(what: str, done: int, total: int) -> None:
        if what == "Upscaling" and done:
            asked.set()

    with pytest.raises(PausedError, match="go on with --resume"):
        run(scheduler, source, target, report=report, cancelled=asked.is_set)
    upscale_file(source, target, SETTINGS, execution=Execution(resume=True))
    assert tree(target) == expected


def _poison(dask_worker: Any, unit: int) -> None:
    real = worker.run_unit

    def poisoned(run: Any, number: int) -> Any:
        if number == unit:
            msg = "the network failed on this one"
            raise ComputeError(msg)
        return real(run, number)

    worker.run_unit = poisoned
    dask_worker.hrsr_cure = lambda: setattr(worker, "run_unit", real)


def test_a_block_that_cannot_be_computed_is_named_and_the_others_are_done(
    scheduler: Any, source: Path, target: Path, expected: dict[str, str]
) -> None:
    with distributed.Client(scheduler, set_as_default=False) as client:
        client.run(_poison, unit=2)
        try:
            with pytest.raises(ComputeError, match=r"1 of 14 blocks .*block 2: the network failed"):
                run(scheduler, source, target)
        finally:
            client.run(lambda dask_worker: dask_worker.hrsr_cure())
    marked = (target.with_name(target.name + ".partial") / "done").iterdir()
    assert {json.loads(p.read_text())["unit"] for p in marked} == set(range(14)) - {2}
    run(scheduler, source, target, resume=True)
    assert tree(target) == expected


def test_workers_that_hang_are_noticed(
    scheduler: Any, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader, "_GRACE", 1.0)
    with distributed.Client(scheduler, set_as_default=False) as client:
        processes = list(client.run(os.getpid).values())
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        patient = Workers(scheduler=scheduler.scheduler_address, patience=1.0)
        with (
            pytest.raises(ComputeError, match="none of 3 workers has finished a block"),
            connected(patient) as compute,
        ):
            upscale_file(source, target, SETTINGS, execution=Execution(compute=compute))
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def test_own_workers_listen_on_this_machine_only(
    source: Path, target: Path, expected: dict[str, str]
) -> None:
    addresses: set[str] = set()

    def report(what: str, done: int, total: int) -> None:
        if what == "Upscaling" and done:
            me = psutil.Process()
            for process in (me, *me.children(recursive=True)):
                for connection in process.net_connections("inet"):
                    if connection.status == psutil.CONN_LISTEN:
                        addresses.add(connection.laddr.ip)

    with connected(Workers(local=1)) as compute:
        upscale_file(source, target, SETTINGS, execution=Execution(compute=compute), report=report)
    assert addresses == {"127.0.0.1"}
    assert tree(target) == expected


def test_a_scheduler_that_does_not_answer_is_told_before_anything_is_kept(
    source: Path, target: Path
) -> None:
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(InputError, match=r"no scheduler answers at tcp://127\.0\.0\.1:1"),
        connected(Workers(scheduler="tcp://127.0.0.1:1")) as compute,
    ):
        upscale_file(source, target, SETTINGS, execution=Execution(compute=compute))
    assert list(target.parent.iterdir()) == []


def test_a_changed_source_is_noticed_by_the_workers(
    scheduler: Any, source: Path, target: Path
) -> None:
    chunk = next(p for p in (source / "0").rglob("*") if p.is_file() and p.name != "zarr.json")

    def report(what: str, done: int, total: int) -> None:
        if (what, done) == ("Upscaling", 0):
            os.utime(chunk, (1, 1))

    with pytest.raises(OutputError, match="not what it was"):
        run(scheduler, source, target, report=report)


def test_an_encrypted_scheduler_needs_certificates(source: Path, target: Path) -> None:
    with (
        pytest.raises(InputError, match="needs certificates"),
        connected(Workers(scheduler="tls://127.0.0.1:1")) as compute,
    ):
        upscale_file(source, target, SETTINGS, execution=Execution(compute=compute))
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (Workers(), "either"),
        (Workers(2, "tcp://127.0.0.1:8786"), "either"),
        (Workers(0), "1 or more"),
        (Workers(scheduler="10.0.0.5:8786"), "no address"),
        (Workers(scheduler="tcp://10.0.0.5:8786"), "not encrypted"),
        (Workers(scheduler="tcp://cluster.example.org:8786"), "not encrypted"),
    ],
)
def test_wrong_wishes_are_refused(wrong: Workers, told: str) -> None:
    with pytest.raises(InputError, match=told):
        check_workers(wrong)


def test_encrypted_and_trusted_schedulers_are_accepted() -> None:
    check_workers(Workers(scheduler="tls://10.0.0.5:8786"))
    check_workers(Workers(scheduler="tcp://localhost:8786"))
    check_workers(Workers(scheduler="tcp://10.0.0.5:8786", plain=True))
