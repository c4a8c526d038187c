"""Options that the commands that train have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Images = Annotated[
    list[Path] | None,
    typer.Argument(metavar="IMAGES", help="Files and folders of sharp images to learn from."),
]
Out = Annotated[
    Path | None, typer.Option(metavar="RUN", help="Folder of the run. Default: hrsr-runs/NAME.")
]
Config = Annotated[
    Path | None, typer.Option(help="Settings as TOML; the options here go before them.")
]
Name = Annotated[str | None, typer.Option(help="Name of the model. Default: my-model.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps of the optimiser.")]
Minutes = Annotated[float | None, typer.Option(min=0.01, help="How long to train. Default: 10.")]
Coarse = Annotated[
    list[Path] | None,
    typer.Option(help="Low-resolution images of the same fields, if there are any."),
]
Validation = Annotated[
    list[Path] | None,
    typer.Option(help="Sharp images to measure on. Default: a part of IMAGES."),
]
LeaveOut = Annotated[
    list[str] | None, typer.Option(metavar="SOURCE", help="Sources in IMAGES not to use.")
]
Seed = Annotated[int | None, typer.Option(help="Of everything that is drawn.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps. Default: auto.")]
Devices = Annotated[int | None, typer.Option(min=1, help="Number of GPUs. Default: 1.")]
Install = Annotated[
    bool, typer.Option(help="List the model in napari and in 'napari-hrsr models'.")
]
Events = Annotated[
    bool, typer.Option("--events", hidden=True, help="Events as JSON lines; stdin closes.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
