"""The commands of ``vitgan``."""

from __future__ import annotations

import math
import os
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli import keys
from cli.sentences import Sentences
from cli.values import parse_region, parse_resolution
from contract.metrics import API, TRAINER, WORKER
from contract.seeds import MAX_SEED, parse_seeds

app = typer.Typer(
    name="vitgan",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

# Idle OpenMP threads sleep instead of spinning: API, workers and trainings share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"vitgan {version('vitgan-service')}")
        raise typer.Exit


@app.callback()
def vitgan(
    asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train ViTGAN on your pictures, draw with it, and serve it over HTTP."""


def hold_arithmetic() -> None:
    """Draws as an image worker with these settings would; raises ``ValueError`` if they are wrong."""
    from contract.reading import read_settings
    from worker.arithmetic import hold_to
    from worker.settings import WorkerSettings

    hold_to(read_settings(WorkerSettings).arithmetic)


Host = Annotated[str, typer.Option(envvar="HOST", help="Address to listen on.")]
Port = Annotated[int, typer.Option(envvar="PORT", min=1, max=65535, help="Port to listen on.")]


@app.command()
def up(host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Start everything here: Redis (embedded unless REDIS_URL is set), workers and the API."""
    from cli.supervisor import run

    raise typer.Exit(run(host, port))


@app.command()
def api(host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Start the API alone."""
    from app.listening import check_host
    from app.main import create_app
    from app.server import serve
    from app.settings import AppSettings
    from cli.settings import settings_to_serve
    from contract.logs import set_up_logs

    with Sentences():
        settings = settings_to_serve(AppSettings, API)
        check_host(host, settings)
        set_up_logs("api", settings)
        service = create_app(settings, host)
    serve(service, settings, host, port)


@app.command()
def worker() -> None:
    """Start an image worker."""
    from cli.settings import settings_to_serve
    from worker.arithmetic import hold_to
    from worker.settings import WorkerSettings

    with Sentences():
        settings = settings_to_serve(WorkerSettings, WORKER)
    hold_to(settings.arithmetic)
    from worker.main import run_image_worker  # which loads PyTorch

    run_image_worker(settings)


@app.command()
def trainer() -> None:
    """Start a training worker."""
    from cli.settings import settings_to_serve
    from worker.settings import WorkerSettings
    from worker.training_main import run_training_worker

    with Sentences():
        settings = settings_to_serve(WorkerSettings, TRAINER)
        if settings.device != "cpu":
            from model.devices import Devices  # and PyTorch, of which this process has no other use

            Devices(settings.device)
    run_training_worker(settings)


@app.command(hidden=True)
def alive(queue: Annotated[Literal["generate", "train"], typer.Argument()]) -> None:
    """Tell by the exit code whether this host's worker beats: a container's health check."""
    from cli.health import check_alive

    with Sentences():
        check_alive(queue)


@app.command(hidden=True)
def valkey(folder: Path, port: int, forgets: bool = False) -> None:
    """Run the embedded Valkey until a signal ends it; with a password, if the settings have one."""
    from cli.valkey import run
    from contract.reading import read_settings
    from contract.settings import SharedSettings

    with Sentences():
        settings = read_settings(SharedSettings)
    run(folder, port, forgets, settings)


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Folder or zip of pictures.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    preset: Annotated[str, typer.Option(help="Sizes of the networks.")] = "vitgan-ti-32-stylegan2",
    kimg: Annotated[float, typer.Option(min=0.001, help="Thousand pictures to train on.")] = 100,
    seed: Annotated[
        int | None, typer.Option(min=0, max=MAX_SEED, help="0 if not given; --resume keeps the run's own.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Instead of the preset's.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="section.field=value of the preset; may be repeated.")
    ] = None,
    crop: Annotated[str, typer.Option(help="centre: a centred square; pad: the whole picture.")] = "centre",
    background: Annotated[
        str, typer.Option(help="Colour below transparent and around padded pictures.")
    ] = "white",
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded pictures.")] = None,
    tick: Annotated[float, typer.Option(min=0.001, help="kimg between grids and checkpoints.")] = 4,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after that time.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    start: Annotated[
        str | None,
        typer.Option(help="Name or folder of a model that G starts with, or the folder of a run: G and D."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    compiler: Annotated[
        str, typer.Option("--compile", help="off, default, or reduce-overhead (CUDA graphs).")
    ] = "off",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="On a GPU: slower, the same bits every time.")
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also log for TensorBoard.")] = False,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: all cores.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print sizes, memory and speed; train nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Progress as JSON lines.")] = False,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Train on a folder or zip of pictures; Ctrl-C saves, --resume goes on."""
    from model.presets import preset as preset_named

    with Sentences():
        config = preset_named(preset, batch).with_setting(*settings or ())
        from cli.training import DataOptions, RunOptions, run_plan, run_training  # as in drawing
        from worker.engine import use_threads

        use_threads(threads)
        run = RunOptions(
            out=out, kimg=kimg, seed=seed, tick_kimg=tick, max_minutes=max_minutes, resume=resume,
            device=device, compiler=compiler, deterministic=deterministic,
            tensorboard=tensorboard, as_json=json, start=start, with_parent=with_parent,
        )  # fmt: skip
        code = (run_plan if dry_run else run_training)(
            config, DataOptions(data, crop, background, cache), run
        )
    raise typer.Exit(code)


@app.command()
def plot(run: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Draw a run's curves into RUN/curves.png."""
    from cli.plot import run_plot

    with Sentences():
        code = run_plot(run)
    raise typer.Exit(code)


@app.command()
def generate(
    seeds: Annotated[str, typer.Option(help="Numbers and ranges: 0-15,20.")],
    out: Annotated[Path, typer.Option(help="Folder for seed0042.png files.")],
    resolution: Annotated[str, typer.Option(help="512 or 333x200.")] = "256",
    model: Annotated[str, typer.Option(help="A model's name or folder.")] = "personas",
    truncation: Annotated[float, typer.Option(min=0, max=1)] = 1.0,
    region: Annotated[str | None, typer.Option(help="x,y,width,height: only that part.")] = None,
    file_format: Annotated[Literal["png", "webp", "jpeg"], typer.Option("--format")] = "png",
) -> None:
    """Draw seeds into files, the same bytes as the service sends."""
    from contract.messages import Form, Side

    with Sentences():
        width, height = parse_resolution(resolution)
        x, y, w, h = parse_region(region, width, height)
        columns, rows = Side.part(width, x, w), Side.part(height, y, h)
        form = Form(format=file_format)
        hold_arithmetic()
        from cli.local import run_generation  # which loads PyTorch: when all else is known to be right

        run_generation(model, parse_seeds(seeds), columns, rows, truncation, form, out)


@app.command()
def grid(
    seeds: Annotated[str, typer.Option(help="Numbers and ranges: 0-15,20.")],
    out: Annotated[Path, typer.Option(help="The PNG to write.")],
    resolution: Annotated[str, typer.Option(help="Of each picture: 512 or 333x200.")] = "256",
    model: Annotated[str, typer.Option(help="A model's name or folder.")] = "personas",
    truncation: Annotated[float, typer.Option(min=0, max=1)] = 1.0,
    across: Annotated[int | None, typer.Option(min=1, help="Pictures in a row.")] = None,
) -> None:
    """Draw seeds into one PNG, side by side."""
    from contract.messages import Grid, Side

    with Sentences():
        width, height = parse_resolution(resolution)
        what = Grid(
            seeds=(numbers := tuple(parse_seeds(seeds))), truncation=truncation,
            columns=Side.whole(width), rows=Side.whole(height),
            across=min(across or math.ceil(math.sqrt(len(numbers))), len(numbers)),
        )  # fmt: skip
        hold_arithmetic()
        from cli.local import run_composition

        run_composition(model, what, out)


@app.command()
def interpolate(
    seeds: Annotated[str, typer.Option(help="The stops, two or more: 0-3,20.")],
    out: Annotated[Path, typer.Option(help="The file to write: .png (APNG) or .webp.")],
    frames: Annotated[int, typer.Option(min=2, help="Of the whole animation.")] = 72,
    resolution: Annotated[str, typer.Option(help="512 or 333x200.")] = "256",
    model: Annotated[str, typer.Option(help="A model's name or folder.")] = "personas",
    truncation: Annotated[float, typer.Option(min=0, max=1)] = 1.0,
    space: Annotated[
        Literal["z", "w"], typer.Option(help="z: great circles between latents; w: lines between styles.")
    ] = "z",
    loop: Annotated[bool, typer.Option(help="Back to the first seed, without end.")] = True,
    fps: Annotated[int, typer.Option(min=1, max=60, help="Frames a second.")] = 24,
) -> None:
    """Draw a walk from seed to seed, the same bytes as the service sends."""
    from contract.messages import Side, Walk

    with Sentences():
        width, height = parse_resolution(resolution)
        numbers = tuple(parse_seeds(seeds))
        if not 2 <= len(numbers) <= frames:
            raise ValueError(
                f"{len(numbers)} seeds in {frames} frames: give two seeds or more, and a frame each"
            )
        if out.suffix not in (".png", ".webp"):
            raise ValueError(f"{out}: give a file that ends in .png or .webp")
        what = Walk(
            seeds=numbers, truncation=truncation, columns=Side.whole(width), rows=Side.whole(height),
            frames=frames, space=space, loop=loop, fps=fps, format="png" if out.suffix == ".png" else "webp",
        )  # fmt: skip
        hold_arithmetic()
        from cli.local import run_composition

        run_composition(model, what, out)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A model's name or folder.")],
    data: Annotated[Path, typer.Argument(help="Folder or zip of its training pictures.")],
    out: Annotated[Path, typer.Option(help="Folder for evaluation.json and neighbours.png.")],
    count: Annotated[int, typer.Option(min=4, help="Pictures of each set, at most half of the data.")] = 5000,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED)] = 0,
    fid: Annotated[bool, typer.Option("--fid", help="Also FID and KID; needs the extra fid.")] = False,
    crop: Annotated[str, typer.Option(help="As in the training: centre or pad.")] = "centre",
    background: Annotated[str, typer.Option(help="As in the training.")] = "white",
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded pictures.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: all cores.")] = 0,
) -> None:
    """Measure how close a model's pictures are to its training pictures."""
    from cli.evaluate import run_evaluation
    from worker.engine import use_threads

    use_threads(threads)
    with Sentences():
        code = run_evaluation(
            model, data, count=count, seed=seed, out=out, device=device, fid=fid, cache=cache, crop=crop,
            background=background,
        )  # fmt: skip
    raise typer.Exit(code)


dataset = typer.Typer(help="Make datasets.", no_args_is_help=True)
app.add_typer(dataset, name="dataset")
app.add_typer(keys.app, name="keys")


@dataset.command()
def shapes(
    out: Annotated[Path, typer.Argument(help="The zip to write.")],
    count: Annotated[int, typer.Option(min=1, max=100_000)] = 300,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED)] = 0,
) -> None:
    """Write a zip of coloured circles, squares and triangles, to try a training with."""
    from cli.shapes import write_shapes

    write_shapes(out, count, seed)
    typer.echo(f"{out}: {count} pictures")
