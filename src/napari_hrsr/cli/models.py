"""``napari-hrsr models``: what is installed."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from napari_hrsr.cli.shared import explained


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print every fact as JSON.")] = False,
) -> None:
    """List the installed models."""
    with explained():
        from napari_hrsr.models.catalog import list_models
        from napari_hrsr.models.spec import spec_to_dict

        specs = list_models()
        if as_json:
            typer.echo(json.dumps([spec_to_dict(spec) for spec in specs], indent=2))
            return
        from rich.console import Console
        from rich.table import Table

        table = Table("name", "axes", "factor", "gain over cubic", "trained on")
        table.columns[0].no_wrap = True
        for spec in specs:
            gains = ", ".join(f"{kind} {gain:+.1f} dB" for kind, gain in spec.gains.items())
            factor = " x ".join(map(str, spec.scale))
            table.add_row(spec.name, f"{spec.ndim}D", factor, gains, spec.trained_on)
        Console().print(table)
