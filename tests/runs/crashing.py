"""A process that runs upscaling in children and kills them: run by the tests as a script.

Children are forked after everything is imported, so that a kill costs a
fraction of a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from napari_hrsr import jobs
from napari_hrsr.file_planning import Settings
from napari_hrsr.upscale_file import Execution, upscale_file

CALLS = ("rename", "replace", "unlink", "rmdir", "mkdir")


# Units of two tiles: a small run then has several.
jobs.choose_batch = lambda *arguments: 2


def tree(path: Path) -> dict[str, str]:
    files = (p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def upscaled(source: Path, target: Path, fatal: int | None, resume: bool) -> int:
    """Upscale in a child, which dies at its `fatal`-th change of a folder; return its status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        if fatal is not None:
            die_at(fatal)
        settings = Settings(model="cubic-2x2", tile=24)
        upscale_file(source, target, settings, execution=Execution(resume=resume))
    except BaseException as error:
        sys.stderr.write(f"{error!r}\n")
        os._exit(3)
    os._exit(0)


def die_at(fatal: int) -> None:
    count = 0

    def dying(call: object) -> object:
        def wrapped(*arguments: object, **more: object) -> object:
            nonlocal count
            count += 1
            if count == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **more)

        return wrapped

    for name in CALLS:
        setattr(os, name, dying(getattr(os, name)))


def main(source: Path, folder: Path, suffix: str, every: int) -> None:
    whole = folder / "whole"
    whole.mkdir()
    name = f"out{suffix}"
    assert upscaled(source, whole / name, None, resume=False) == 0
    killed = different = leftover = torn = 0
    fatal = 1
    while True:
        place = folder / f"at-{fatal}"
        place.mkdir()
        status = upscaled(source, place / name, fatal, resume=False)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        killed += 1
        # It dies after the result has its name, too, while it tidies up.
        torn += (place / name).exists() and tree(place / name) != tree(whole / name)
        status = upscaled(source, place / name, None, resume=True)
        assert status == 0, (fatal, status)
        different += tree(place / name) != tree(whole / name)
        leftover += {p.name for p in place.iterdir()} != {name}
        shutil.rmtree(place)
        fatal += every
    result = {
        "killed": killed, "different": different, "leftover": leftover, "torn": torn,
    }  # fmt: skip
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
