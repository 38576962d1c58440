"""Commands about configs and runs."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from cyclopts.validators import Number

from ddco_jax.cli.options import (
    BreakLock,
    ConfigName,
    Devices,
    Distributed,
    Folder,
    Grace,
    Json,
    Overrides,
    app,
    enable_x64,
    load_config,
    option,
    several,
    unlock,
)


@app.command
def run(
    config: ConfigName,
    *,
    out: Annotated[Path | None, option("new folder of the run, by default runs/<config>-<time>")] = None,
    set_: Overrides = None,
    devices: Devices = None,
    distributed: Distributed = False,
    grace: Grace = 20.0,
    break_lock: BreakLock = False,
) -> None:
    """Run a config file, or a shipped one by name, and print a summary."""
    from ddco_jax.evaluation.report import summary_table
    from ddco_jax.simulation import interrupts, processes
    from ddco_jax.simulation import run as runner

    with interrupts.watched(grace) as watch, several(distributed, devices, watch):
        settings, name = load_config(config, set_)
        now = processes.agreed(f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
        folder = out or Path("runs") / f"{name}-{now}"
        unlock(folder, break_lock and processes.first())
        devices = devices or processes.devices()
        summary = runner.run(settings, folder, name, watch=watch, devices=devices)
        if processes.first():
            print(summary_table(summary))


@app.command
def resume(
    folder: Folder,
    *,
    devices: Devices = None,
    distributed: Distributed = False,
    grace: Grace = 20.0,
    break_lock: BreakLock = False,
) -> None:
    """Continue a run from its last checkpoint, by default on as many devices as before, and print a summary."""
    from ddco_jax.evaluation.report import summary_table
    from ddco_jax.simulation import interrupts, processes
    from ddco_jax.simulation import run as runner

    enable_x64()
    with interrupts.watched(grace) as watch, several(distributed, devices, watch):
        unlock(folder, break_lock and processes.first())
        devices = processes.devices() if distributed else devices
        summary = runner.resume(folder, watch=watch, devices=devices)
        if processes.first():
            print(
                summary_table(summary)
                if summary.taken
                else f"{folder}: already complete ({summary.steps} steps); nothing to do; see `ddco plot {folder}`; "
                "for more steps run the config again with a larger time.steps"
            )


@app.command
def sweep(
    config: ConfigName,
    *,
    set_: Annotated[
        list[str] | None, option("section.key=value,value,... for what varies, section.key=value for the rest", "--set")
    ] = None,
    out: Annotated[Path, option("folder of the runs and of their summary")],
    jobs: Annotated[int, option("runs at a time", validator=Number(gte=1))] = 1,
    grace: Grace = 20.0,
    break_lock: BreakLock = False,
) -> None:
    """Run a config for each combination of values, and summarise the runs; the same command continues."""
    from ddco_jax.settings import RunFailed
    from ddco_jax.simulation import sweep as sweeps
    from ddco_jax.simulation.sweep_summary import write_summary

    planned = sweeps.plan(config, set_ or [], out)
    unlock(out, break_lock)
    options = ["--grace", str(grace), *["--break-lock"] * break_lock]
    outcomes = sweeps.run_all(planned, out, jobs, options)
    print(write_summary(planned, outcomes, out))
    if failed := sum(outcome.status != "complete" for outcome in outcomes):
        raise RunFailed(f"{failed} of {len(outcomes)} runs failed, as said above; the same command tries them again")


@app.command
def export(
    folder: Folder,
    *,
    netcdf: Annotated[Path, option("the new file", "--netcdf")],
    units: Annotated[Literal["code", "si"], option("units of the variables")] = "code",
) -> None:
    """Write the result of a run, finished or not, as a netCDF file with groups `history` and `snapshots`."""
    from ddco_jax.simulation.config import ConfigError
    from ddco_jax.simulation.results import export_netcdf

    try:
        export_netcdf(folder, netcdf, units)
    except (FileExistsError, FileNotFoundError) as error:
        raise ConfigError(str(error)) from None
    print(netcdf)


@app.command
def check(config: ConfigName, *, set_: Overrides = None, devices: Devices = 1, json_: Json = False) -> None:
    """Print the plasma, stability numbers, resolution and memory of a config without running it.

    With --devices, memory and time are those of each device.
    """
    from ddco_jax.evaluation.report import check_table
    from ddco_jax.simulation.check import check_report, refuse
    from ddco_jax.simulation.config import ConfigError

    settings, _ = load_config(config, set_)
    report = check_report(settings, plasma=True, devices=devices or 1)
    try:
        refuse(report)
    except ConfigError as error:  # said before the table
        print(f"ddco: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    finally:
        print(json.dumps(report, indent=1) if json_ else check_table(report))


@app.command
def plot(
    folder: Folder,
    *,
    md: Annotated[Path | None, option("an MD file, for a figure of the run, or runs, beside it")] = None,
    beside: Annotated[
        list[Path] | None, option("another run, in one figure with this one; may be repeated", "--with")
    ] = None,
    units: Annotated[Literal["si", "code"], option("units of the axes")] = "si",
    format_: Annotated[
        list[Literal["png", "pdf", "svg"]] | None, option("format, png by default; may be repeated", "--format")
    ] = None,
    movie: Annotated[bool, option("also a movie of f(x, vx), f(vx, vy): MP4 with ffmpeg, else GIF")] = False,
) -> None:
    """Write figures of a run, with captions, to FOLDER/figures."""
    from ddco_jax.md.dataset import open_dataset
    from ddco_jax.plots.against_md import plot_against_md
    from ddco_jax.plots.movie import plot_movie
    from ddco_jax.plots.run import FOLDER, plot_run
    from ddco_jax.plots.side_by_side import plot_side_by_side
    from ddco_jax.simulation.config import ConfigError

    formats = format_ or ["png"]
    try:
        paths = plot_run(folder, units, formats)
        if beside:
            paths += plot_side_by_side([folder, *beside], units, formats)
        if md is not None:
            runs, data = [folder, *(beside or [])], open_dataset(md)
            paths += plot_against_md(runs, data, folder / FOLDER, f"md_{md.stem}", units=units, formats=formats)
        if movie:
            paths.append(plot_movie(folder, units))
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from None
    for path in paths:
        print(path)


@app.command
def compare(
    folder: Folder,
    md_file: Annotated[Path, option("dataset of `ddco md` or `ddco import-md`")],
    *,
    json_: Json = False,
    bin_m_s: Annotated[float, option("velocity bins of the comparison, m/s")] = 1600.0,
) -> None:
    """Print the errors of a run against MD and the noise of the MD, and store them per snapshot and cell as JSON."""
    from ddco_jax.evaluation import compare as comparison
    from ddco_jax.md.dataset import open_dataset
    from ddco_jax.simulation.config import ConfigError

    try:
        rows = comparison.compare(folder, open_dataset(md_file), bin_m_s)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from None
    comparison.write(rows, folder / f"compare_{md_file.stem}.json")
    print(json.dumps(rows, indent=1) if json_ else comparison.table(rows))


@app.command(name="configs")
def list_configs(*, json_: Json = False) -> None:
    """List the configs that come with the package, with their descriptions."""
    from ddco_jax.evaluation.listings import configs, configs_table

    print(json.dumps(configs(), indent=1) if json_ else configs_table(configs()))


@app.command
def init(file: Annotated[Path, option("new file")] = Path("my_plasma.toml")) -> None:
    """Write an annotated config to change, which runs as it is in about a minute."""
    from ddco_jax.settings import ConfigError, shipped

    try:
        file.open("x").write(shipped()["example"].read_text().replace("my_plasma.toml", str(file)))
    except OSError as error:
        why = "exists already; choose another name" if file.exists() else f"cannot be written ({error.strerror})"
        raise ConfigError(f"{file} {why}") from None
    print(f"{file}\nchange it, then: ddco check {file}; ddco run {file}")
