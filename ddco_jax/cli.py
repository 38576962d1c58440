"""The `ddco` command.  A user error prints one line and exits with status 2, a failed run with status 3."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

if TYPE_CHECKING:  # loads JAX, which takes seconds
    from ddco_jax.simulation.config import Config

app = App(
    name="ddco",
    help="Kinetic simulation of moderately coupled plasmas in 1D-3V.",
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
)


def _option(help_: str, name: str | None = None, **more: Any) -> Any:
    return Parameter(name=name, help=help_, **more)


ConfigName = Annotated[str, _option("config file (TOML), or the name of a shipped one (`ddco configs`)")]
Overrides = Annotated[
    list[str] | None, _option("section.key=value in place of what the config states, may be repeated", "--set")
]
Json = Annotated[bool, _option("print JSON", "--json")]
Folder = Annotated[Path, _option("folder of a run")]


Grace = Annotated[
    float,
    Parameter(
        help="seconds for the step under way after Ctrl-C or SIGTERM, then the last checkpoint stands",
        validator=Number(gte=0),
    ),
]


@app.command
def run(
    config: ConfigName,
    *,
    out: Annotated[Path | None, _option("new folder of the run, by default runs/<config>-<time>")] = None,
    set_: Overrides = None,
    grace: Grace = 20.0,
) -> None:
    """Run a config file, or a shipped one by name, and print a summary."""
    from ddco_jax.evaluation.report import summary_table
    from ddco_jax.simulation import interrupts
    from ddco_jax.simulation import run as runner

    with interrupts.watched(grace) as watch:
        settings, name = _load(config, set_)
        folder = out or Path("runs") / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        summary = runner.run(settings, folder, name, watch=watch)
    print(summary_table(summary))


@app.command
def resume(folder: Folder, *, grace: Grace = 20.0) -> None:
    """Continue a run from its last checkpoint and print a summary."""
    from ddco_jax.evaluation.report import summary_table
    from ddco_jax.simulation import interrupts
    from ddco_jax.simulation import run as runner

    _enable_x64()
    with interrupts.watched(grace) as watch:
        summary = runner.resume(folder, watch=watch)
    print(summary_table(summary))


@app.command
def export(
    folder: Path,
    *,
    netcdf: Annotated[Path, Parameter(name="--netcdf", help="the new file")],
    units: Annotated[Literal["code", "si"], Parameter(help="units of the variables")] = "code",
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
def check(config: ConfigName, *, set_: Overrides = None, json_: Json = False) -> None:
    """Print the plasma, stability numbers, resolution and memory of a config without running it."""
    from ddco_jax.evaluation.report import check_table
    from ddco_jax.simulation.check import check_report, refuse

    settings, _ = _load(config, set_)
    report = check_report(settings, plasma=True)
    print(json.dumps(report, indent=1) if json_ else check_table(report))
    refuse(report)


@app.command
def plot(
    folder: Folder,
    *,
    md: Annotated[Path | None, _option("an MD file, for a figure of the run beside it")] = None,
    beside: Annotated[list[Path] | None, _option("another run in that figure, may be repeated", "--with")] = None,
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
    folder: Folder,
    md_file: Annotated[Path, _option("dataset of `ddco md` or `ddco import-md`")],
    *,
    json_: Json = False,
    bin_m_s: Annotated[float, _option("velocity bins of the comparison, m/s")] = 1600.0,
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
    config: ConfigName,
    *,
    out: Annotated[Path, _option("file of the dataset, NetCDF")],
    set_: Overrides = None,
    trajectory: Annotated[Path | None, _option("new folder in which the snapshots of all particles are kept")] = None,
) -> None:
    """Run molecular dynamics with LAMMPS and write a dataset; after a kill, the same command continues the run."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # statistics must not take the cores of LAMMPS
    from ddco_jax.evaluation.md_report import md_table
    from ddco_jax.md.config import load
    from ddco_jax.md.simulate import estimate, simulate

    settings = load(config, set_ or [])
    print(estimate(settings), file=sys.stderr)
    print(md_table(simulate(settings, out, trajectory=trajectory)))


@app.command(name="import-md")
def import_md(
    *files: Annotated[Path, _option("files in order of time")],
    out: Annotated[Path, _option("file of the dataset, NetCDF")],
    units: Annotated[
        str | None, _option("units of files that do not say: a style of LAMMPS, e.g. metal, or code")
    ] = None,
    length_m: Annotated[float | None, _option("length of one unit, instead")] = None,
    velocity_m_s: Annotated[float | None, _option("velocity of one unit, instead")] = None,
    time_s: Annotated[float | None, _option("time of one unit, instead")] = None,
    step_time: Annotated[float | None, _option("time of one step, where the files state no time")] = None,
    type_: Annotated[str | None, _option("the type of particles that is read", "--type")] = None,
    group: Annotated[str | None, _option("the particles group of H5MD files that is read")] = None,
    allow_open_box: Annotated[bool, _option("take a box that is not periodic as periodic")] = False,
    mass_kg: Annotated[float | None, _option("mass of a particle, by default App. D's 1.67e-27")] = None,
    charge_C: Annotated[
        float | None, _option("charge of a particle, by default App. D's 1.6e-19", "--charge-C")
    ] = None,
    start: Annotated[str, _option("name of the initial distribution")] = "imported",
    cells: Annotated[int, _option("cells along x in which statistics are kept")] = 1,
    bin_m_s: Annotated[float, _option("velocity bins of the histograms, m/s")] = 800.0,
    particles_kept: Annotated[int, _option("particles whose velocities are stored")] = 8192,
    remove_drift: Annotated[bool, _option("subtract the mean velocity of each snapshot")] = False,
    lag_ps: Annotated[float | None, _option("equilibrium: keep correlation functions up to this lag")] = None,
    block_ps: Annotated[float | None, _option("length of the blocks whose scatter gives error bars")] = None,
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
    *files: Annotated[Path, _option("datasets of equilibrium runs")],
    json_: Json = False,
    figures: Annotated[Path | None, _option("folder for figures of the correlation functions and of D*, eta*")] = None,
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
    config: ConfigName,
    *,
    out: Annotated[Path, _option("folder of the kernel; the training in it is continued")],
    set_: Overrides = None,
    cache: Annotated[Path | None, _option("folder for pair averages, to share between trainings")] = None,
) -> None:
    """Train a kernel on MD; after a kill, the same command continues, with bitwise the same result."""
    from ddco_jax.evaluation.tables import listing
    from ddco_jax.kernels.store import metadata
    from ddco_jax.learning.config import load
    from ddco_jax.learning.train import train as fit

    _enable_x64()
    fit(load(config, set_ or []), out, cache=cache)
    about = metadata(out)
    chi_squared = f"{about['training_chi_squared']:.2f}"
    print(listing({"kernel": str(out), "runs": str(len(about["runs"])), "chi^2 per datum": chi_squared}))


@app.command(name="transport")
def transport_coefficients(
    *,
    kernel: Annotated[list[str] | None, _option("name or folder, may be repeated; all by default")] = None,
    gamma: Annotated[list[float] | None, _option("coupling parameter, may be repeated")] = None,
    order: Annotated[int, _option("Sonine polynomials")] = 4,
    density_m3: Annotated[float | None, _option("add physical units, at this density")] = None,
    md: Annotated[list[Path] | None, _option("equilibrium runs to compare with", consume_multiple=True)] = None,
    figure: Annotated[Path | None, _option("draw D and eta against T at 1e21 and 1e24 m^-3 into this file")] = None,
    json_: Json = False,
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
    kernel: Annotated[str, _option("name of a kernel (`ddco kernels`), or folder of a training")],
    *,
    out: Annotated[Path, _option("new folder of the kernel")],
    products: Annotated[int, _option("positive separable terms of the new kernel")] = 3,
    seed: Annotated[int, _option("of the random parameters at which the fit starts")] = 0,
) -> None:
    """Refit a learned kernel with few separable products; prints the error and the speed-up."""
    from ddco_jax.evaluation.report import recompression_table
    from ddco_jax.learning.recompress import recompress_learned

    _enable_x64()
    print(recompression_table(recompress_learned(kernel, out, products, seed)))


@app.command(name="kernels")
def list_kernels(*, json_: Json = False) -> None:
    """List the kernels that come with the package: the Gamma they were trained on, their errors on held-out MD."""
    from ddco_jax.evaluation.listings import kernels, kernels_table

    print(json.dumps(kernels(), indent=1) if json_ else kernels_table(kernels()))


@app.command(name="configs")
def list_configs(*, json_: Json = False) -> None:
    """List the configs that come with the package, with their descriptions."""
    from ddco_jax.evaluation.listings import configs, configs_table

    print(json.dumps(configs(), indent=1) if json_ else configs_table(configs()))


@app.command
def init(file: Annotated[Path, _option("new file")] = Path("my_plasma.toml")) -> None:
    """Write an annotated config to change, which runs as it is in about a minute."""
    from ddco_jax.settings import ConfigError, shipped

    try:
        file.open("x").write(shipped()["example"].read_text().replace("my_plasma.toml", str(file)))
    except OSError as error:
        why = "exists already; choose another name" if file.exists() else f"cannot be written ({error.strerror})"
        raise ConfigError(f"{file} {why}") from None
    print(f"{file}\nchange it, then: ddco check {file}; ddco run {file}")


def _load(config: str, overrides: list[str] | None) -> "tuple[Config, str]":
    from ddco_jax.simulation import config as configs

    settings, name = configs.load(config, overrides or [])
    if settings.precision == "float64":
        _enable_x64()
    return settings, name


def _enable_x64() -> None:
    import jax

    from ddco_jax.simulation import programs

    jax.config.update("jax_enable_x64", True)
    programs.keep()


def main() -> None:
    """Entry point of the console command."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # jaxlib 0.10 logs an error for each program that is kept
    try:
        app(exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _end(" ".join(str(error).split()), 2)
    except KeyboardInterrupt:
        _end("stopped by SIGINT; repeat the command (train and md go on where they were)", 130)
    except Exception as error:  # classified below, so that a usage error does not wait for JAX to load
        from ddco_jax.settings import RunFailed
        from ddco_jax.simulation.config import ConfigError
        from ddco_jax.simulation.interrupts import Stopped

        if isinstance(error, ConfigError):
            _end(str(error), 2)
        if isinstance(error, Stopped):
            _end(str(error), error.status)
        if isinstance(error, RunFailed):
            _end(f"{error}; the last good checkpoint is kept", 3)
        if message := _no_device():
            _end(message, 2)
        raise


def _no_device() -> str | None:
    """What is wrong if JAX has no device, else None."""
    import jax

    try:
        jax.devices()
    except Exception:
        wanted = f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}"
        return f"JAX finds no device with {wanted}; unset it, or install JAX for the device (docs/gpus.md)"
    return None


def _end(message: str, status: int) -> None:
    print(f"ddco: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
