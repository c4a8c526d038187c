"""Progress of a fusion, as bars in the terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

Report = Callable[[str, int, int], None]


@contextlib.contextmanager
def reporting(progress: Report | bool | None) -> Iterator[Report]:
    """Yield what to call with progress.

    Parameters
    ----------
    progress : callable or bool, optional
        As for `fuse_frames`.
    """
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield report
