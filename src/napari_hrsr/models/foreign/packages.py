"""Read the files of a package: a folder, a zip, or the description in one of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from napari_hrsr.errors import ModelFileError
from napari_hrsr.models.foreign.reading import LARGEST_FILE, read_file

DESCRIPTIONS = ("rdf.yaml", "bioimageio.yaml", "rdf.yml", "bioimageio.yml")
_MOST_MEMBERS = 1000
_LARGEST_RATIO = 200
_LARGEST_DESCRIPTION = 4 * 2**20

Reader = Callable[[str], bytes]
"""Returns a file of the package by its name in it."""


def is_package(path: Path) -> bool:
    """Tell whether a folder holds a package."""
    return path.is_dir() and any((path / name).is_file() for name in DESCRIPTIONS)


def open_package(path: Path) -> tuple[str, bytes, Reader]:
    """Open a package.

    Parameters
    ----------
    path : Path
        A folder, a ``.zip`` or a ``.yaml`` file.

    Returns
    -------
    name : str
        Of the description in it.
    description : bytes
        Its text.
    read : callable
        Reads another file of the package.

    Raises
    ------
    ModelFileError
        If it is none, damaged, or names files outside itself.
    """
    if path.is_dir():
        found = next((name for name in DESCRIPTIONS if (path / name).is_file()), None)
        if found is None:
            msg = f"{path.name} holds no {' or '.join(DESCRIPTIONS[:2])}"
            raise ModelFileError(msg)
        read = _folder_reader(path)
        return found, _description(path.name, read(found)), read
    if path.suffix.lower() in (".yaml", ".yml"):
        read = _folder_reader(path.parent)
        return path.name, _description(path.name, read(path.name)), read
    return open_zip(path.name, read_file(path))


def open_zip(name: str, content: bytes) -> tuple[str, bytes, Reader]:
    """Open a zipped package; see `open_package`."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {member.filename: member for member in archive.infolist()}
            if len(members) != len(archive.infolist()) or len(members) > _MOST_MEMBERS:
                msg = f"{name} holds too many files, or two of one name"
                raise ModelFileError(msg)
            for member in members.values():
                _check_member(name, member)
            if sum(member.file_size for member in members.values()) > LARGEST_FILE:
                msg = f"{name} is too large for a package of a model"
                raise ModelFileError(msg)
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        msg = f"{name} is damaged, or it is no zip: {error}"
        raise ModelFileError(msg) from None

    def read(wanted: str) -> bytes:
        if wanted not in members:
            msg = f"{name} lacks its file {wanted!r}"
            raise ModelFileError(msg)
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                return archive.read(wanted)
        except Exception as error:
            msg = f"{name}: its file {wanted!r} is damaged: {error}"
            raise ModelFileError(msg) from None

    found = next((n for n in DESCRIPTIONS if n in members), None)
    if found is None:
        msg = f"{name} holds no {' or '.join(DESCRIPTIONS[:2])}: it is no package of a model"
        raise ModelFileError(msg)
    return found, _description(name, read(found)), read


def _check_member(name: str, member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename)
    drive = ":" in member.filename or "\\" in member.filename
    if path.is_absolute() or ".." in path.parts or drive:
        msg = f"{name} holds a file outside its folder: {member.filename[:80]!r}"
        raise ModelFileError(msg)
    if member.flag_bits & 1 or member.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):
        msg = f"{name} is encrypted, or compressed in an unusual way"
        raise ModelFileError(msg)
    if (member.external_attr >> 16) & 0o170000 == 0o120000:
        msg = f"{name} holds a link: {member.filename[:80]!r}"
        raise ModelFileError(msg)
    if member.file_size > 2**20 and member.file_size > _LARGEST_RATIO * member.compress_size:
        msg = f"{name} grows too much when it is unpacked: {member.filename[:80]!r}"
        raise ModelFileError(msg)


def _folder_reader(folder: Path) -> Reader:
    def read(wanted: str) -> bytes:
        path = PurePosixPath(wanted)
        inside = not path.is_absolute() and ".." not in path.parts and "\\" not in wanted
        target = folder / wanted
        if not inside or not target.resolve().is_relative_to(folder.resolve()):
            msg = f"{folder.name} names a file outside its folder: {wanted[:80]!r}"
            raise ModelFileError(msg)
        if not target.exists():
            msg = f"{folder.name} lacks its file {wanted!r}"
            raise ModelFileError(msg)
        return read_file(target)

    return read


def _description(name: str, content: bytes) -> bytes:
    if len(content) > _LARGEST_DESCRIPTION:
        msg = f"{name} has a description of {len(content)} bytes: too much for a model"
        raise ModelFileError(msg)
    return content
