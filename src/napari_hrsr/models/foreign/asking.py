"""What the user must be shown before a file's code is run."""

from __future__ import annotations

from pathlib import Path

from napari_hrsr.models.foreign.bioimage import ATTACHED, package_program
from napari_hrsr.models.foreign.opening import stored_program
from napari_hrsr.models.foreign.packages import is_package, open_package
from napari_hrsr.models.foreign.programs import TORCHSCRIPT, Program, is_torchscript
from napari_hrsr.models.foreign.reading import read_file
from napari_hrsr.models.foreign.trust import TrustRequest
from napari_hrsr.models.header import is_ours

_PACKAGES = (".zip", ".yaml", ".yml")


def ask_trust(path: str | Path) -> TrustRequest | None:
    """Return what the user must be shown before a file is trusted; nothing of it is run.

    Parameters
    ----------
    path : str or Path
        A file, or a package of the BioImage Model Zoo.

    Returns
    -------
    TrustRequest or None
        None if it holds no code, or can be used without.

    Raises
    ------
    ModelFileError
        If it cannot be read.
    """
    path = Path(path)
    program = _program(path)
    return None if program is None else program.request()


def _program(path: Path) -> Program | None:
    if is_package(path) or path.suffix.lower() in _PACKAGES:
        _, description, read = open_package(path)
        if ATTACHED.encode() in description:
            return None
        return package_program(path.name, description, read)
    content = read_file(path)
    if is_ours(path.name, content):
        return stored_program(path.name, content)
    return Program(TORCHSCRIPT, path.name, content) if is_torchscript(content) else None
