"""Which files the user trusts to run their author's code.

Trust is given to one file by its digest: for this process, or, for a file that
was added to the user's models, until that model is removed. Nothing in a file
can ask for it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from napari_hrsr.errors import ModelFileError, OutputError, UntrustedError
from napari_hrsr.models.user_models import user_folder
from napari_hrsr.models.writing import write_whole

RISK = (
    "This file holds a program of its author's. Opened, it can do whatever you can do on this "
    "computer: read your files and send them away, or delete them. napari-hrsr runs it in a "
    "process of its own, which cannot write into files and has limits to memory, but that does "
    "not make it safe. Trust it only if you know where it came from and its digest is the one "
    "that was published there."
)

_REMEMBERED = "trusted.json"
_LARGEST = 2**20

_trusted: set[str] = set()


@dataclass(frozen=True, slots=True)
class TrustRequest:
    """What to show a user before code of somebody else's is run.

    Attributes
    ----------
    file : str
        Name of the file.
    sha256 : str
        Hexadecimal digest of what would run: of the file's content, and where
        that is several files, of all of them together.
    size : int
        Bytes.
    kind : str
        Of the code, for people.
    risk : str
        In words.
    parts : tuple of (str, str)
        Name and sha256 of each file, where there are several.
    """

    file: str
    sha256: str
    size: int
    kind: str
    risk: str = RISK
    parts: tuple[tuple[str, str], ...] = ()

    @property
    def digests(self) -> tuple[tuple[str, str], ...]:
        """Name and sha256 of each file, to be compared with what its author published."""
        return self.parts or ((self.file, self.sha256),)


def trust(sha256: str) -> None:
    """Trust the file with a digest until this process ends.

    Raises
    ------
    ModelFileError
        If it is no sha256.
    """
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        msg = f"{sha256[:80]!r} is no sha256 of a file: 64 hexadecimal digits in small letters"
        raise ModelFileError(msg)
    _trusted.add(sha256)


def withdraw(sha256: str) -> None:
    """Trust the file with a digest no longer in this process."""
    _trusted.discard(sha256)


def is_trusted(sha256: str) -> bool:
    """Tell whether the user trusts the file with a digest: now, or as a model that is installed."""
    return sha256 in _trusted or sha256 in _remembered().values()


def check_trusted(name: str, content: bytes, what: str = "TorchScript") -> None:
    """Refuse code that the user does not trust.

    Parameters
    ----------
    name : str
        Of the file, for the message.
    content : bytes
        What would run.
    what : str
        Kind of code.

    Raises
    ------
    UntrustedError
        With what can be done.
    """
    if not is_trusted(hashlib.sha256(content).hexdigest()):
        raise UntrustedError(refusal(name, what))


def refusal(name: str, what: str = "TorchScript") -> str:
    """Say why a file is refused that holds code, and what can be done."""
    return (
        f"{name} holds code ({what}), which its author could make do anything: ask for the "
        "weights alone, as .safetensors, or as ONNX. If you trust the author, add it in the "
        "widget Models, which asks first, or give --trust on the command line; it then runs in a "
        "process of its own"
    )


def remember(model: str, sha256: str) -> None:
    """Trust what an installed model runs, until that model is removed.

    Parameters
    ----------
    model : str
        Its name among the user's models.
    sha256 : str
        Digest of what runs; another content under this name is not trusted.

    Raises
    ------
    OutputError
        If that cannot be kept.
    """
    _keep(_read() | {model: sha256})


def forget(model: str) -> None:
    """Trust what an installed model runs no longer, in this process and in others.

    Raises
    ------
    OutputError
        If that cannot be kept.
    """
    known = _read()
    digest = known.pop(model, None)
    if digest is not None:
        withdraw(digest)
        _keep(known)


def _remembered() -> dict[str, str]:
    """Return the digests of models that are still installed, by their names."""
    folder = user_folder()
    return {
        model: digest
        for model, digest in _read().items()
        if (folder / f"{model}.safetensors").is_file()
    }


def _read() -> dict[str, str]:
    path = user_folder() / _REMEMBERED
    try:
        if path.stat().st_size > _LARGEST:
            return {}
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def _keep(known: dict[str, str]) -> None:
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _REMEMBERED, json.dumps(known, indent=1).encode())
    except OSError as error:
        msg = f"cannot keep which files are trusted in {folder}: {error.strerror or error}"
        raise OutputError(msg) from error
