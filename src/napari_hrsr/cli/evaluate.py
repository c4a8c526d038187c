"""``napari-hrsr evaluate``: how far a result can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_hrsr.cli.shared import explained, progress


def evaluate(
    result: Annotated[
        Path, typer.Argument(metavar="RESULT", help="Image whose truth is in question.")
    ],
    source: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What it was made of. Default: the recorded one, if it lies beside the result.",
        ),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The truth, on the grid of the result.")
    ] = None,
    second: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The result of a second, independent recording of the same scene."
        ),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all numbers and curves.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a page with pictures, curves and recipe."),
    ] = None,
    map_to: Annotated[
        Path | None,
        typer.Option(
            "--map", metavar="FILE", help="Write the consistency map, an image on the source."
        ),
    ] = None,
    factor: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N...]", help="Of the upscaling. Default: recorded, or read off the shapes."
        ),
    ] = None,
    psf_sigma: Annotated[
        str | None,
        typer.Option(
            metavar="S[,S...]",
            help="Blur of the instrument: standard deviation in pixels of the source. "
            "Default: found.",
        ),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(help="Standard deviation of the source's noise. Default: measured."),
    ] = None,
    data_range: Annotated[
        str,
        typer.Option(
            metavar="reference|dtype|NUMBER", help="What PSNR and the like call the range."
        ),
    ] = "reference",
    match: Annotated[
        bool, typer.Option("--match", help="Fit gain and offset to the reference first.")
    ] = False,
    border: Annotated[int, typer.Option(min=0, help="Pixels to leave out along every edge.")] = 0,
    axes: Annotated[
        str | None,
        typer.Option(help="One letter per axis, for example TZYX, where the file does not say."),
    ] = None,
    index: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS=N",
            help="Which time point, channel or slice, from 0, for example T=3; may be repeated.",
        ),
    ] = None,
    uncertainty: Annotated[
        bool,
        typer.Option(
            "--uncertainty", help="Run the recorded model again to see how much it varies."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Say how far a result can be trusted, with its source, a reference, or both."""
    with explained() as asked:
        from napari_hrsr.errors import InputError
        from napari_hrsr.evaluate_file import Outputs, Settings, evaluate_file

        def numbers(text: str | None, name: str) -> float | list[float] | None:
            if text is None:
                return None
            try:
                found = [float(part) for part in text.split(",")]
            except ValueError:
                msg = f"{name} is a number, or one per axis such as 2,2; got {text!r}"
                raise InputError(msg) from None
            return found[0] if len(found) == 1 else found

        def places(texts: list[str]) -> dict[str, int]:
            try:
                pairs = [text.split("=") for text in texts]
                return {letter.strip().upper(): int(number) for letter, number in pairs}
            except ValueError:
                msg = f"--index is a letter and a whole number such as T=3, got {texts}"
                raise InputError(msg) from None

        span = data_range if data_range in ("reference", "dtype") else numbers(data_range, "range")
        settings = Settings(
            factor=numbers(factor, "factor"),
            psf_sigma=numbers(psf_sigma, "psf-sigma"),
            noise=noise,
            data_range=span,  # type: ignore[arg-type]
            match=match,
            border=border,
            axes=axes,
            at=places(index or []),
            uncertainty=uncertainty,
        )
        with progress(quiet=quiet) as bar:
            found, subject = evaluate_file(
                result,
                source=source,
                reference=reference,
                second=second,
                settings=settings,
                outputs=Outputs(json, report, map_to, overwrite),
                report=bar,
                cancelled=asked,
            )
    if quiet:
        return
    for role, name in subject.names.items():
        typer.echo(f"{role}: {name}")
    typer.echo()
    typer.echo(str(found))
    verdicts = found.verdicts()
    if verdicts:
        typer.echo()
    for sentence in verdicts:
        typer.echo(f"* {sentence}")
    for path in (json, report, map_to):
        if path is not None:
            typer.echo(f"wrote {path}")
