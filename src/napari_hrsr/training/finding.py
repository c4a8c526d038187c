"""Which files, folders and arrays may hold images; nothing is opened here."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPLIT_NAMES = {
    "training": ("train", "training"),
    "validation": ("val", "valid", "validation", "test"),
}
"""Names of the folders that hold one part of a data set."""

_NO_CLASS = {"2d", "3d", *itertools.chain(*SPLIT_NAMES.values())}

_IMAGES = (
    ".tif", ".tiff", ".nii", ".nii.gz", ".png", ".jpg", ".jpeg", ".bmp", ".webp", ".zarr",
)  # fmt: skip
_NO_IMAGES = {
    "", ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".toml", ".ini",
    ".cfg", ".log", ".html", ".htm", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".py", ".ipynb",
    ".m", ".r", ".sh", ".bat", ".db", ".sha256", ".md5", ".safetensors",
}  # fmt: skip
_SYSTEM_FOLDERS = ("__MACOSX", "__pycache__")
_ZARR = ("zarr.json", ".zgroup", ".zarray")


@dataclass(frozen=True, slots=True, eq=False)
class ArrayItem:
    """An image that is given as an array.

    Attributes
    ----------
    name : str
        For people, and for matching with an image of the same name.
    pixels : array-like
        numpy, memory map, dask or zarr.
    axes : str
        One letter per axis; by default YX or ZYX.
    """

    name: str
    pixels: Any
    axes: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image that is not used.

    Attributes
    ----------
    name : str
        Of the file, with its folder, or of the array.
    reason : str
        Why, for people.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A file or an array that may hold an image; it is not opened yet.

    Attributes
    ----------
    name : str
        For people: the file with its folder within the one that was given.
    source : str
        What it came from; see `TrainingImage`.
    content : Path or ArrayItem
        Where the pixels are.
    """

    name: str
    source: str
    content: Path | ArrayItem

    @property
    def file(self) -> str:
        """Name that no other file has; arrays are told apart by identity."""
        if isinstance(self.content, Path):
            return str(self.content.resolve())
        return f"array {id(self.content.pixels)}"


def find_images(items: Iterable[Any]) -> tuple[list[Found], list[LeftOut]]:
    """List what may be images; folders are searched, nothing is opened.

    Parameters
    ----------
    items : iterable
        Paths of files and folders, `ArrayItem`, or arrays. Hidden files and
        texts are passed over; a folder that is a Zarr is an image.

    Returns
    -------
    found : list of Found
        In the order given; files of a folder in the order of their names.
    left_out : list of LeftOut
        What is missing, or of a kind that cannot be read.
    """
    found: list[Found] = []
    left_out: list[LeftOut] = []
    if isinstance(items, str | Path | ArrayItem) or hasattr(items, "shape"):
        items = (items,)
    for number, item in enumerate(items, start=1):
        if not isinstance(item, str | Path):
            array = item if isinstance(item, ArrayItem) else ArrayItem(f"array {number}", item)
            found.append(Found(array.name, _source(array.name, ""), array))
            continue
        root = Path(item)
        if not root.exists():
            left_out.append(LeftOut(str(root), "there is no such file or folder: check the path"))
        elif _is_image_folder(root) or not root.is_dir():
            _sort_out(root, root.name, "", found, left_out, chosen=True)
        else:
            before = len(found) + len(left_out)
            for path in _walk(root, set(), left_out):
                relative = path.relative_to(root)
                folders = [p for p in relative.parts[:-1] if p.lower() not in _NO_CLASS]
                name = relative.as_posix()
                _sort_out(path, name, folders[0] if folders else "", found, left_out)
            if len(found) + len(left_out) == before:
                left_out.append(LeftOut(str(root), "there is no image in this folder"))
    return found, left_out


def _is_image_folder(path: Path) -> bool:
    return path.is_dir() and (
        path.name.lower().endswith(".zarr") or any((path / name).exists() for name in _ZARR)
    )


def _walk(folder: Path, visited: set[Path], left_out: list[LeftOut]) -> Iterator[Path]:
    """Files and Zarr folders, in the order of their names; links are followed once."""
    visited.add(folder.resolve())
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        left_out.append(LeftOut(str(folder), f"the folder cannot be read: {error.strerror}"))
        return
    for path in entries:
        if path.name.startswith(".") or path.name in _SYSTEM_FOLDERS:
            continue
        if path.is_dir() and not _is_image_folder(path):
            if path.resolve() not in visited:
                yield from _walk(path, visited, left_out)
        else:
            yield path


def _sort_out(
    path: Path,
    name: str,
    class_name: str,
    found: list[Found],
    left_out: list[LeftOut],
    chosen: bool = False,
) -> None:
    lower = path.name.lower()
    if lower.endswith(_IMAGES) or _is_image_folder(path):
        found.append(Found(name, _source(path.name, class_name), path))
    elif chosen or path.suffix.lower() not in _NO_IMAGES:
        known = ", ".join(_IMAGES)
        reason = f"files of this kind cannot be read: save it as one of {known}"
        left_out.append(LeftOut(name, reason))


def stem(name: str) -> str:
    """Return a file name without its folder and its suffixes, ``.ome.tif`` included."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    return re.sub(r"(\.ome)?\.(tiff?|nii|nii\.gz|png|jpe?g|bmp|webp|zarr)$", "", base, flags=re.I)


def _source(name: str, class_name: str) -> str:
    before, mark, _ = name.partition("__")
    return before if mark and before else class_name or stem(name)
