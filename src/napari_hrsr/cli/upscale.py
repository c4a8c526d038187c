"""``napari-hrsr upscale``: a file into a file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_hrsr.cli.shared import explained, progress, trust_model
from napari_hrsr.cli.upscale_options import (
    Per,
    Sampling,
    parse_dtype,
    parse_noise,
    parse_sigma,
    parse_tile,
)

if TYPE_CHECKING:
    from napari_hrsr.upscale_many import Outcome


def upscale(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="IN...",
            help="TIFF, OME-Zarr, NIfTI, DICOM, PNG or JPEG; several, or a pattern in quotes.",
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="The suffix says the format: .ome.tif, .ome.zarr, .nii.gz, .png. "
            "A folder for several images.",
        ),
    ],
    model: Annotated[
        str | None, typer.Option(help="Name from 'napari-hrsr models', or a file.")
    ] = None,
    then: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="A model that goes on with the result, in the same run; may be repeated.",
        ),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(help="One letter per axis, for example TCZYX, where the file does not say."),
    ] = None,
    tile: Annotated[
        Any,
        typer.Option(
            parser=parse_tile,
            metavar="N|N,N,N",
            help="Longest tile in source pixels. Default: auto.",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps. Default: auto.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="auto, float32, bfloat16 or float16. Default: auto."),
    ] = None,
    noise: Annotated[
        Any,
        typer.Option(
            parser=parse_noise,
            metavar="auto|FLOAT",
            help="Standard deviation of the noise in the image's units. Default: auto.",
        ),
    ] = None,
    intensity: Annotated[
        Per | None,
        typer.Option(help="What shares one measurement of range and noise. Default: channel."),
    ] = None,
    dtype: Annotated[
        Any,
        typer.Option(
            parser=parse_dtype, metavar="TYPE", help="Type of the result. Default: the image's."
        ),
    ] = None,
    consistent: Annotated[
        bool,
        typer.Option(
            "--consistent",
            help="Hold the result to IN: degraded again it equals a clean image, and agrees with "
            "a noisy one to within its noise.",
        ),
    ] = False,
    psf_sigma: Annotated[
        Any,
        typer.Option(
            parser=parse_sigma,
            metavar="S|S,S,S",
            help="With --consistent: standard deviation of the blur, source pixels. Default: none.",
        ),
    ] = None,
    sampling: Annotated[
        Sampling | None,
        typer.Option(help="With --consistent: what a pixel of IN collects. Default: area."),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="Repeat what made this result (or a JSON file of its record)."),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Run the code in the --model file (TorchScript), in a process of its own.",
        ),
    ] = False,
    output_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="SUFFIX",
            help="Format of results in a folder, such as .ome.zarr. Default: as IN.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with a run that was stopped or killed; leave a complete OUT as it is.",
        ),
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what such a run has written.")
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Compute only every N-th block, beginning with the I-th: for job arrays. "
            "The last part to end finishes OUT.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Compute in N processes on this machine.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Compute on the workers of this dask scheduler, such as tls://10.0.0.5:8786.",
        ),
    ] = None,
    trust_network: Annotated[
        bool,
        typer.Option(
            "--trust-network",
            help="Allow a tcp:// scheduler on another machine: without TLS, whoever reaches it "
            "can run programs on its workers.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Super-resolve an image from a file into a file, at any size.

    Several images go into a folder, one after another; one that fails does
    not stop the others.

    Exit codes: 0 all done, 1 an error (of any image), 2 wrong usage, 130
    cancelled. A part whose siblings are not done yet ends with 0.
    """
    with explained() as cancelled, contextlib.ExitStack() as stack:
        from napari_hrsr.errors import InputError

        if not consistent and (psf_sigma is not None or sampling is not None):
            msg = (
                "--psf-sigma and --sampling say what --consistent holds the result to: give it too"
            )
            raise InputError(msg)
        if then and model is None:
            msg = "--then goes on with what --model made: give --model too"
            raise InputError(msg)
        clustered = workers is not None or scheduler is not None
        if part is not None and (clustered or restart):
            msg = (
                "--part is for runs without a scheduler, and goes on with what is there: "
                "give it without --workers, --scheduler and --restart"
            )
            raise InputError(msg)
        if trust:
            trust_model(model)
        from napari_hrsr.file_planning import Settings
        from napari_hrsr.forward import Instrument
        from napari_hrsr.replay import read_recipe
        from napari_hrsr.upscale_file import Execution, upscale_file
        from napari_hrsr.upscale_many import find_sources, name_results, upscale_many

        instrument = Instrument(psf_sigma or (), sampling.value if sampling else "area")
        settings = Settings(
            model=[model, *then] if model and then else model,
            axes=axes,
            tile=tile,
            device=device,
            precision=precision,
            noise=noise,
            intensity=intensity.value if intensity else None,
            dtype=dtype,
            consistent=instrument if consistent else None,
            recipe=read_recipe(recipe) if recipe else None,
            overwrite=overwrite,
        )
        found = find_sources(sources)
        many = len(found) > 1 or _is_folder(target)
        if many:
            target.mkdir(parents=True, exist_ok=True)
        targets = name_results(found, target, output_format) if many else [target]
        if part is not None:
            _compute_part(found, targets, settings, part, quiet=quiet, cancelled=cancelled)
            return
        way = Execution(resume=resume, restart=restart)
        if clustered:
            from napari_hrsr.cluster import Workers, connected

            hands = Workers(workers, scheduler, plain=trust_network)
            way = Execution(resume, restart, stack.enter_context(connected(hands)))
        report = stack.enter_context(progress(quiet=quiet))
        if not many:
            upscale_file(
                found[0], target, settings, execution=way, report=report, cancelled=cancelled
            )
            return
        outcomes = upscale_many(
            found,
            targets,
            settings,
            execution=way,
            say=_say(quiet=quiet),
            report=report,
            cancelled=cancelled,
        )
        failed = [outcome for outcome in outcomes if outcome.error]
        if failed:
            msg = f"{len(failed)} of {len(outcomes)} images failed; the others are done"
            raise InputError(msg)


def _is_folder(target: Path) -> bool:
    """Tell whether a target means a folder for results, not a result."""
    if str(target).endswith((os.sep, "/")):
        return True
    from napari_hrsr.files import is_zarr_name

    return target.is_dir() and not is_zarr_name(target)


def _compute_part(
    sources: list[Path],
    targets: list[Path],
    settings: Any,
    text: str,
    *,
    quiet: bool,
    cancelled: Any,
) -> None:
    from napari_hrsr.errors import InputError
    from napari_hrsr.runs.units import parse_part
    from napari_hrsr.upscale_part import upscale_part

    part = parse_part(text)
    if len(sources) > 1:
        msg = "--part shares out one image: give one, or let each job of the array take its own"
        raise InputError(msg)
    with progress(quiet=quiet) as report:
        record = upscale_part(
            sources[0], targets[0], settings, part, report=report, cancelled=cancelled
        )
    if record is None and not quiet:
        typer.echo(f"part {part} is done; other parts are still missing", err=True)


def _say(*, quiet: bool) -> Any:
    """Return what tells of each image of several."""

    def say(outcome: Outcome) -> None:
        if outcome.error:
            typer.echo(f"{outcome.source}: error: {outcome.error}", err=True)
        elif not quiet:
            how = "was there" if outcome.skipped else f"{outcome.seconds:.1f} s"
            typer.echo(f"{outcome.source} -> {outcome.target} ({how})", err=True)

    return say
