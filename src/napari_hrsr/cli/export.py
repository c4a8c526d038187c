"""``napari-hrsr export``: a model in reduced precision, or for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_hrsr.cli.shared import explained


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name or file of a trained model.")],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="New .safetensors file; a card goes beside it. "
            "Or a .zip: a package of the BioImage Model Zoo, with the network as ONNX.",
        ),
    ],
    precision: Annotated[
        str, typer.Option(metavar="bfloat16|float16|int8", help="Of the weights.")
    ] = "int8",
    device: Annotated[
        str, typer.Option(help="Where to measure: auto, cpu, cuda, cuda:1 or mps.")
    ] = "auto",
    install: Annotated[
        bool, typer.Option("--install", help="List it in napari and in 'napari-hrsr models'.")
    ] = False,
    noise: Annotated[
        float,
        typer.Option(help="In a .zip: noise that the network is told, as a share of the range."),
    ] = 0.0,
) -> None:
    """Store a model in reduced precision, and measure what that costs and buys.

    int8 makes the file smaller. bfloat16 and float16 make runs faster on
    devices that have instructions for them; others go on in float32.
    """
    with explained():
        if out.suffix.lower() == ".zip":
            from napari_hrsr.training.bioimage_export import export_package

            complaints = export_package(model, out, noise=noise)
            for line in complaints:
                typer.echo(line, err=True)
            typer.echo(f"package: {out}, {'test failed' if complaints else 'test passed'}")
            if complaints:
                raise typer.Exit(1)
            return
        from napari_hrsr.training.export import export_model

        done = export_model(model, out, precision=precision, device=device, install=install)
        from rich.console import Console
        from rich.table import Table

        table = Table("model", "computed in", "dB", "dB to the original", "s per megapixel")
        for m in done.measurements:
            near = "" if m.to_original is None else f"{m.to_original:.1f}"
            chosen = m.computed_in if m.automatic else f"{m.computed_in} (not chosen here)"
            table.add_row(m.model, chosen, f"{m.psnr:.3f}", near, f"{m.seconds:.2g}")
        Console().print(table)
        typer.echo(f"quality lost: {done.lost:.3f} dB, on the sample {done.sample!r}")
        typer.echo(done.speed_line())
        typer.echo(f"file: {done.size} bytes, the original's {done.original_size}")
        typer.echo(f"model: {out}")
