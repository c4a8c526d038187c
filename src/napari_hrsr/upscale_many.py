"""Many images in files, one after another: one that fails does not stop the others."""

from __future__ import annotations

import glob
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_hrsr.errors import HrsrError, InputError
from napari_hrsr.file_planning import Settings
from napari_hrsr.file_results import Report
from napari_hrsr.files import WRITTEN_SUFFIXES
from napari_hrsr.files.partial import check_cancelled
from napari_hrsr.upscale_file import Execution, upscale_file

_OTHERS = (".jpg", ".jpeg", ".bmp", ".webp", ".dcm")
_AS = {".jpg": ".png", ".jpeg": ".png", ".bmp": ".png", ".webp": ".png"}
_WILD = "*?["


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an image.

    Attributes
    ----------
    source, target : Path
        The files.
    error : str
        Why there is no result; empty where there is one.
    skipped : bool
        Whether the result was there, complete, from an earlier run.
    seconds : float
        What it took.
    """

    source: Path
    target: Path
    error: str = ""
    skipped: bool = False
    seconds: float = 0.0


def find_sources(patterns: Sequence[str | Path]) -> list[Path]:
    """List files by their names or by patterns such as ``"scans/*.tif"``.

    Parameters
    ----------
    patterns : sequence of str or Path
        A name that exists is taken as it is, whatever it contains.

    Returns
    -------
    list of Path
        Each once, in the order given; those of a pattern sorted.

    Raises
    ------
    InputError
        If there is none for one of them.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        text = str(pattern)
        if Path(text).exists() or not any(sign in text for sign in _WILD):
            found[Path(text)] = None
            continue
        names = sorted(glob.glob(text, recursive=True))
        names = [name for name in names if not name.endswith(".partial")]
        if not names:
            msg = f"no file matches {text}"
            raise InputError(msg)
        found |= dict.fromkeys(map(Path, names))
    return list(found)


def name_results(sources: Sequence[Path], folder: Path, suffix: str | None = None) -> list[Path]:
    """Name the result of each source.

    Parameters
    ----------
    sources : sequence of Path
        The images.
    folder : Path
        For the results.
    suffix : str, optional
        The format of all, for example ``".ome.zarr"``. By default each has
        its source's, or the nearest that can be written.

    Raises
    ------
    InputError
        If the format is unknown, or two results would have one name.
    """
    if suffix is not None:
        suffix = suffix if suffix.startswith(".") else f".{suffix}"
        if suffix.lower() not in WRITTEN_SUFFIXES:
            msg = f"{suffix!r} is no format that can be written: use {', '.join(WRITTEN_SUFFIXES)}"
            raise InputError(msg)
    targets: dict[Path, Path] = {}
    for source in sources:
        stem, own = _parted(source)
        target = folder / f"{stem}{suffix or own}"
        if target in targets:
            msg = (
                f"the results of {targets[target]} and {source} would both be {target.name}: "
                "give them different folders or names"
            )
            raise InputError(msg)
        targets[target] = source
    return list(targets)


def upscale_many(
    sources: Sequence[Path],
    targets: Sequence[Path],
    settings: Settings,
    *,
    execution: Execution | None = None,
    say: Callable[[Outcome], None] = lambda outcome: None,
    report: Report = lambda what, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Outcome]:
    """Upscale images one after another; report what fails and go on.

    Parameters
    ----------
    sources, targets : sequence of Path
        Images and their results, in pairs.
    settings : Settings
        For all of them. A recipe's settings and range are taken for all.
    execution : Execution, optional
        With ``resume``, results that are complete are left as they are.
    say : callable
        Told of each image when it is done.
    report : callable
        As for `upscale_file.upscale_file`, with the name of the image.
    cancelled : callable
        Polled; the images that follow are left out, and it is raised.

    Returns
    -------
    list of Outcome
        One per image.

    Raises
    ------
    CancelledError
        If `cancelled` returned True.
    """
    way = execution or Execution()
    outcomes = []
    for number, (source, target) in enumerate(zip(sources, targets, strict=True), 1):
        check_cancelled(cancelled)
        there = way.resume and target.exists()
        started = time.perf_counter()
        error = ""

        def tell(what: str, done: int, total: int, number: int = number) -> None:
            report(f"{what} {number}/{len(sources)}", done, total)

        try:
            upscale_file(source, target, settings, execution=way, report=tell, cancelled=cancelled)
        except HrsrError as failure:
            if cancelled():
                raise
            error = str(failure)
        seconds = time.perf_counter() - started
        outcomes.append(Outcome(source, target, error, there and not error, seconds))
        say(outcomes[-1])
    return outcomes


def _parted(source: Path) -> tuple[str, str]:
    """Part a name into its stem and the suffix of its result."""
    name = source.name
    known = sorted((*WRITTEN_SUFFIXES, *_OTHERS), key=len, reverse=True)
    for suffix in known:
        if name.lower().endswith(suffix):
            own = _AS.get(suffix, suffix if suffix in WRITTEN_SUFFIXES else ".nii.gz")
            return name[: -len(suffix)], own
    return name, ".nii.gz" if source.is_dir() else ".ome.tif"
