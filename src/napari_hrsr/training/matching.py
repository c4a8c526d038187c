"""Which coarse and which fine image belong together, by their names or their order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from napari_hrsr.errors import InputError
from napari_hrsr.training.finding import Found, LeftOut, stem

_WORD = (
    r"(?:low|high|fine|coarse|sharp|blurred|input|target|truth|gt|lr|hr|lq|hq|sr|raw"
    r"|low[-_ ]?res(?:olution)?|high[-_ ]?res(?:olution)?|x\d|\dx)"
)
_SEPARATOR = r"[-_. ]+"
_AFTER = re.compile(rf"(?:{_SEPARATOR}{_WORD}|x\d)$")
_BEFORE = re.compile(rf"^{_WORD}{_SEPARATOR}")
_ALONE = re.compile(rf"^{_WORD}$")

_NAMES_SHOWN = 3


def match(
    coarse: Sequence[Found], fine: Sequence[Found]
) -> tuple[list[tuple[Found, Found]], list[LeftOut]]:
    """Pair coarse and fine images.

    Names are compared without suffix and without words such as ``_lr``,
    ``_hr``, ``_low``, ``_high`` or ``x2`` at either end, first with their folder
    and then without. Where no names agree and the counts do, the order decides.

    Parameters
    ----------
    coarse, fine : sequence of Found
        In their order.

    Returns
    -------
    pairs : list of (Found, Found)
        Coarse and fine, in the order of the coarse ones.
    left_out : list of LeftOut
        Images without a partner.

    Raises
    ------
    InputError
        If neither names nor counts agree.
    """
    best: list[tuple[Found, Found]] = []
    for name in (_with_folder, common_name):
        pairs = _by(name, coarse, fine)
        if len(pairs) > len(best):
            best = pairs
    if not best and len(coarse) == len(fine):
        best = list(zip(coarse, fine, strict=True))
    if not best:
        msg = (
            f"{len(coarse)} low-resolution and {len(fine)} high-resolution images cannot be "
            f"matched: no names agree ({_shown(coarse)}; {_shown(fine)}) and the counts differ. "
            "Give the two images of a pair the same name"
        )
        raise InputError(msg)
    used = {id(found) for pair in best for found in pair}
    left_out = [
        LeftOut(found.name, f"there is no {other} image of this name")
        for group, other in ((coarse, "high-resolution"), (fine, "low-resolution"))
        for found in group
        if id(found) not in used
    ]
    return best, left_out


def common_name(found: Found) -> str:
    """Return the part of a name that both images of a pair share."""
    name = stem(found.name).lower()
    while _AFTER.search(name) or _BEFORE.search(name):
        name = _BEFORE.sub("", _AFTER.sub("", name))
    return "" if _ALONE.match(name) else name


def _with_folder(found: Found) -> str:
    return found.name.rpartition("/")[0] + "/" + common_name(found)


def _by(
    name: Callable[[Found], str], coarse: Sequence[Found], fine: Sequence[Found]
) -> list[tuple[Found, Found]]:
    partners = {name(found): found for found in fine}
    # A name that stands for two images says nothing.
    if len(partners) < len(fine) or len({name(found) for found in coarse}) < len(coarse):
        return []
    return [(found, partners[name(found)]) for found in coarse if name(found) in partners]


def _shown(group: Sequence[Found]) -> str:
    names = [found.name for found in group[:_NAMES_SHOWN]]
    return ", ".join(names) + (", ..." if len(group) > _NAMES_SHOWN else "")
