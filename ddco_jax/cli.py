"""The `ddco` command.  A user error prints one line and exits with status 2, a failed run with status 3."""

import json
import logging
import os
import sys
import traceback
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter

if TYPE_CHECKING:  # loads JAX, which takes seconds
    from ddco_jax.simulation.config import Config

DEBUG = "--debug"
app = App(
    name="ddco",
    help=f"Kinetic simulation of moderately coupled plasmas in 1D-3V.  {DEBUG} shows the traceback of an error.",
    help_format="plaintext",
)

Overrides = Annotated[list[str] | None, Parameter(name="--set", help="section.key=value, may be repeated")]
BreakLock = Annotated[bool, Parameter(help="remove the lock of an ended process from the folder", negative=())]


@app.command
def run(config: str, *, out: Path | None = None, set_: Overrides = None, break_lock: BreakLock = False) -> None:
    """Run a config file, or a shipped one by name, and print a summary."""
    from ddco_jax.evaluation.report import summary_table
    from ddco_jax.simulation import run as runner

    settings, name = _load(config, set_)
    folder = out or Path("runs") / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    _unlock(folder, break_lock)
    summary = runner.run(settings, folder, name)
    print(summary_table(summary))


@app.command
def resume(folder: Path, *, break_lock: BreakLock = False) -> None:
    """Continue a run from its last checkpoint and print a summary."""
    from ddco_jax.evaluation.report import summary_table
    from ddco_jax.simulation import run as runner

    _enable_x64()
    _unlock(folder, break_lock)
    print(summary_table(runner.resume(folder)))


@app.command
def check(config: str, *, set_: Overrides = None, json_: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Print the plasma, stability numbers, resolution and memory of a config without running it."""
    from ddco_jax.evaluation.report import check_table
    from ddco_jax.simulation.check import check_report, refuse

    settings, _ = _load(config, set_)
    report = check_report(settings, plasma=True)
    print(json.dumps(report, indent=1) if json_ else check_table(report))
    refuse(report)


@app.command
def plot(
    folder: Path,
    *,
    md: Annotated[Path | None, Parameter(help="an MD file, for a figure of the run beside it")] = None,
    beside: Annotated[
        list[Path] | None, Parameter(name="--with", help="another run in that figure, may be repeated")
    ] = None,
) -> None:
    """Write figures of a run as PNG to FOLDER/figures."""
    from ddco_jax.md.dataset import open_dataset
    from ddco_jax.plots.against_md import plot_against_md
    from ddco_jax.plots.run import plot_run
    from ddco_jax.simulation.config import ConfigError

    if beside and md is None:
        raise ConfigError("--with: only the figure beside MD shows several runs; give --md FILE")
    try:
        paths = plot_run(folder)
        if md is not None:
            target = folder / "figures" / f"md_{md.stem}.png"
            paths.append(plot_against_md([folder, *(beside or [])], open_dataset(md), target))
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from None
    for path in paths:
        print(path)


@app.command
def compare(
    folder: Path,
    md_file: Path,
    *,
    json_: Annotated[bool, Parameter(name="--json")] = False,
    bin_m_s: Annotated[float, Parameter(help="velocity bins of the comparison")] = 1600.0,
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


@app.command
def md(
    config: str,
    *,
    out: Path,
    set_: Overrides = None,
    trajectory: Annotated[
        Path | None, Parameter(help="new folder in which the snapshots of all particles are kept")
    ] = None,
    break_lock: BreakLock = False,
) -> None:
    """Run molecular dynamics with LAMMPS and write a dataset; after a kill, the same command continues the run."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # statistics must not take the cores of LAMMPS
    from ddco_jax.evaluation.md_report import md_table
    from ddco_jax.md.config import load
    from ddco_jax.md.simulate import estimate, simulate, work_folder

    settings = load(config, set_ or [])
    print(estimate(settings), file=sys.stderr)
    _unlock(work_folder(out), break_lock)
    print(md_table(simulate(settings, out, trajectory=trajectory)))


@app.command(name="import-md")
def import_md(
    *files: Path,
    out: Path,
    units: Annotated[
        str | None, Parameter(help="units of files that do not say: a style of LAMMPS, e.g. metal, or code")
    ] = None,
    length_m: Annotated[float | None, Parameter(help="length of one unit, instead")] = None,
    velocity_m_s: Annotated[float | None, Parameter(help="velocity of one unit, instead")] = None,
    time_s: Annotated[float | None, Parameter(help="time of one unit, instead")] = None,
    step_time: Annotated[float | None, Parameter(help="time of one step, where the files state no time")] = None,
    type_: Annotated[str | None, Parameter(name="--type", help="the type of particles that is read")] = None,
    group: Annotated[str | None, Parameter(help="the particles group of H5MD files that is read")] = None,
    allow_open_box: Annotated[bool, Parameter(help="take a box that is not periodic as periodic")] = False,
    mass_kg: float | None = None,
    charge_C: Annotated[float | None, Parameter(name="--charge-C")] = None,
    start: Annotated[str, Parameter(help="name of the initial distribution")] = "imported",
    cells: Annotated[int, Parameter(help="cells along x in which statistics are kept")] = 1,
    bin_m_s: float = 800.0,
    particles_kept: int = 8192,
    remove_drift: bool = False,
    lag_ps: Annotated[float | None, Parameter(help="equilibrium: keep correlation functions up to this lag")] = None,
    block_ps: float | None = None,
) -> None:
    """Convert LAMMPS dumps, H5MD or extended XYZ, files in order of time, to a dataset as of `ddco md`."""
    from ddco_jax.evaluation.md_report import md_table
    from ddco_jax.md import importer, trajectory
    from ddco_jax.md import units as unit

    options = importer.Options(
        trajectory.Reading(unit.given(units, length_m, velocity_m_s, time_s), step_time, type_, group, allow_open_box),
        scales=importer.scales(mass_kg, charge_C),
        start=start,
        cells=cells,
        bin_m_s=bin_m_s,
        particles_kept=particles_kept,
        remove_drift=remove_drift,
        lag_ps=lag_ps,
        block_ps=block_ps,
    )
    print(md_table(importer.import_md(files, out, options)))


@app.command(name="md-transport")
def md_transport(
    *files: Path,
    json_: Annotated[bool, Parameter(name="--json")] = False,
    figures: Annotated[
        Path | None, Parameter(help="folder for figures of the correlation functions and of D*, eta*")
    ] = None,
) -> None:
    """Green-Kubo D* and eta* with error bars, from equilibrium runs of `ddco md`; replicates are joined."""
    from ddco_jax.evaluation.md_report import transport_rows, transport_table
    from ddco_jax.md.dataset import open_dataset
    from ddco_jax.md.green_kubo import group, transport
    from ddco_jax.simulation.config import ConfigError

    if not files:
        raise ConfigError("md-transport: give one or more files of equilibrium runs")
    groups = group([open_dataset(f) for f in files])
    results = [transport(g) for g in groups]
    print(json.dumps(transport_rows(results), indent=1) if json_ else transport_table(results))
    if figures is not None:
        from ddco_jax.plots.md import plot_correlations, plot_transport

        figures.mkdir(parents=True, exist_ok=True)
        for path in (
            plot_correlations(groups, figures / "correlations.png"),
            plot_transport(results, figures / "transport.png"),
        ):
            print(path, file=sys.stderr)


@app.command
def train(
    config: str,
    *,
    out: Path,
    set_: Overrides = None,
    cache: Annotated[Path | None, Parameter(help="folder for pair averages, to share between trainings")] = None,
    break_lock: BreakLock = False,
) -> None:
    """Train a kernel on MD; after a kill, the same command continues, with bitwise the same result."""
    from ddco_jax.evaluation.tables import listing
    from ddco_jax.kernels.store import metadata
    from ddco_jax.learning.config import load
    from ddco_jax.learning.train import train as fit

    _enable_x64()
    _unlock(out, break_lock)
    fit(load(config, set_ or []), out, cache=cache)
    about = metadata(out)
    chi_squared = f"{about['training_chi_squared']:.2f}"
    print(listing({"kernel": str(out), "runs": str(len(about["runs"])), "chi^2 per datum": chi_squared}))


@app.command(name="transport")
def transport_coefficients(
    *,
    kernel: Annotated[list[str] | None, Parameter(help="name or folder, may be repeated; all by default")] = None,
    gamma: Annotated[list[float] | None, Parameter(help="coupling parameter, may be repeated")] = None,
    order: Annotated[int, Parameter(help="Sonine polynomials")] = 4,
    density_m3: Annotated[float | None, Parameter(help="add physical units, at this density")] = None,
    md: Annotated[list[Path] | None, Parameter(help="equilibrium runs to compare with", consume_multiple=True)] = None,
    figure: Annotated[
        Path | None, Parameter(help="draw D and eta against T at 1e21 and 1e24 m^-3 into this file")
    ] = None,
    json_: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """D*, eta*, kappa* of kernels by Chapman-Enskog expansion, Eq. (34), beside Green-Kubo values of MD."""
    from ddco_jax.evaluation.report import measured_coefficients, transport_report, transport_report_table
    from ddco_jax.simulation.config import ConfigError

    _enable_x64()
    measured = measured_coefficients(md or [])
    try:
        rows = transport_report(kernel, gamma, order, density_m3, measured)
    except ValueError as error:
        raise ConfigError(f"--kernel: {error}") from None
    print(json.dumps(rows, indent=1) if json_ else transport_report_table(rows))
    if figure is not None:
        from ddco_jax.plots.coefficients import KERNELS, plot_coefficients

        figure.parent.mkdir(parents=True, exist_ok=True)
        print(plot_coefficients(figure, kernel or KERNELS, measured=measured), file=sys.stderr)


@app.command
def recompress(
    kernel: str,
    *,
    out: Path,
    products: Annotated[int, Parameter(help="positive separable terms of the new kernel")] = 3,
    seed: int = 0,
) -> None:
    """Refit a learned kernel with few separable products; prints the error and the speed-up."""
    from ddco_jax.evaluation.report import recompression_table
    from ddco_jax.learning.recompress import recompress_learned

    _enable_x64()
    print(recompression_table(recompress_learned(kernel, out, products, seed)))


@app.command(name="kernels")
def list_kernels(*, json_: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """List the kernels that come with the package, learned ones with their errors on held-out MD."""
    from ddco_jax.kernels.store import describe, held_out, names

    if json_:
        rows = [{"name": name, "description": describe(name), "held_out": held_out(name)} for name in names()]
        print(json.dumps(rows, indent=1))
        return
    for name in names():
        print(f"{name:20s}{describe(name)}")
        if errors := held_out(name):
            print(" " * 20 + "held-out: " + ", ".join(f"{key} {value:.3g}" for key, value in errors.items()))


def _load(config: str, overrides: list[str] | None) -> "tuple[Config, str]":
    from ddco_jax.simulation import config as configs

    settings, name = configs.load(config, overrides or [])
    if settings.precision == "float64":
        _enable_x64()
    return settings, name


def _unlock(folder: Path, wanted: bool) -> None:
    from ddco_jax.plasma.lock import break_lock

    if wanted:
        break_lock(folder)


def _enable_x64() -> None:
    import jax

    jax.config.update("jax_enable_x64", True)


def main() -> None:
    """Entry point of the console command."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # zarr's tasks, after an error that is reported anyway
    warnings.filterwarnings("ignore", message="Object at .* is not recognized as a component of a Zarr hierarchy")
    words = [word for word in sys.argv[1:] if word != DEBUG]
    try:
        app(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _end(" ".join(str(error).split()), 2)
    except KeyboardInterrupt:
        _end("stopped; `ddco resume DIR` goes on from the last checkpoint", 130)
    except Exception as error:  # explained below, so that a usage error does not wait for JAX to load
        from ddco_jax.simulation.failures import explained

        if DEBUG in sys.argv[1:]:
            traceback.print_exc()
        _end(*explained(error))


def _end(message: str, status: int) -> None:
    print(f"ddco: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
