"""Names of units: OME-NGFF's long ones, and those of other formats."""

from __future__ import annotations

MICROMETRES = {
    "picometer": 1e-6,
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "decimeter": 1e5,
    "meter": 1e6,
    "inch": 25_400.0,
}
"""Length units in micrometres."""

TIME_UNITS = (
    "nanosecond", "microsecond", "millisecond", "second", "minute", "hour", "day",
)  # fmt: skip

OME_SYMBOLS = {
    "picometer": "pm",
    "angstrom": "Å",
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "decimeter": "dm",
    "meter": "m",
    "inch": "in",
    "pixel": "pixel",
    "nanosecond": "ns",
    "microsecond": "µs",
    "millisecond": "ms",
    "second": "s",
    "minute": "min",
    "hour": "h",
    "day": "d",
}

_OTHERS = {
    "micron": "micrometer",
    "microns": "micrometer",
    "um": "micrometer",
    "μm": "micrometer",  # with the Greek letter; the table above has the micro sign
    "\\u00b5m": "micrometer",
    "us": "microsecond",
    "sec": "second",
    "msec": "millisecond",
    "inches": "inch",
    "pixels": "pixel",
}


def unit_name(text: str | None) -> str:
    """Return the long name of a unit; ``"pixel"`` where it is unknown.

    Parameters
    ----------
    text : str or None
        A symbol or a name, for example ``"µm"``, ``"micron"`` or
        ``"micrometre"``.
    """
    text = (text or "").strip()
    for name, symbol in OME_SYMBOLS.items():
        if text == symbol:
            return name
    text = text.lower().replace("metre", "meter")
    text = _OTHERS.get(text, text)
    if text not in OME_SYMBOLS and text.removesuffix("s") in OME_SYMBOLS:
        text = text.removesuffix("s")
    return text if text in OME_SYMBOLS else "pixel"
