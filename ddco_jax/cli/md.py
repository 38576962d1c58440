"""Commands about molecular dynamics."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

from ddco_jax.cli.options import BreakLock, ConfigName, Json, Overrides, app, option, unlock


@app.command
def md(
    config: ConfigName,
    *,
    out: Annotated[Path, option("file of the dataset, NetCDF")],
    set_: Overrides = None,
    trajectory: Annotated[Path | None, option("new folder in which the snapshots of all particles are kept")] = None,
    lammps: Annotated[
        str | None, option("your command for LAMMPS, e.g. 'mpirun -np 64 lmp -sf gpu', else that of DDCO_LAMMPS")
    ] = None,
    break_lock: BreakLock = False,
) -> None:
    """Run molecular dynamics with LAMMPS and write a dataset; after a kill, the same command continues the run."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # statistics must not take the cores of LAMMPS
    from ddco_jax.evaluation.md_report import md_table
    from ddco_jax.md.config import load
    from ddco_jax.md.lammps import VARIABLE
    from ddco_jax.md.simulate import estimate, simulate, work_folder

    if lammps is not None:
        os.environ[VARIABLE] = lammps
    settings = load(config, set_ or [])
    print(estimate(settings), file=sys.stderr)
    unlock(work_folder(out), break_lock)
    print(md_table(simulate(settings, out, trajectory=trajectory)))


@app.command(name="import-md")
def import_md(
    *files: Annotated[Path, option("files in order of time")],
    out: Annotated[Path, option("file of the dataset, NetCDF")],
    units: Annotated[
        str | None, option("units of files that do not say: a style of LAMMPS, e.g. metal, or code")
    ] = None,
    length_m: Annotated[float | None, option("length of one unit, instead")] = None,
    velocity_m_s: Annotated[float | None, option("velocity of one unit, instead")] = None,
    time_s: Annotated[float | None, option("time of one unit, instead")] = None,
    step_time: Annotated[float | None, option("time of one step, where the files state no time")] = None,
    type_: Annotated[str | None, option("the type of particles that is read", "--type")] = None,
    group: Annotated[str | None, option("the particles group of H5MD files that is read")] = None,
    allow_open_box: Annotated[bool, option("take a box that is not periodic as periodic")] = False,
    mass_kg: Annotated[float | None, option("mass of a particle, by default App. D's 1.67e-27")] = None,
    charge_C: Annotated[float | None, option("charge of a particle, by default App. D's 1.6e-19", "--charge-C")] = None,
    start: Annotated[str, option("name of the initial distribution")] = "imported",
    cells: Annotated[int, option("cells along x in which statistics are kept")] = 1,
    bin_m_s: Annotated[float, option("velocity bins of the histograms, m/s")] = 800.0,
    particles_kept: Annotated[int, option("particles whose velocities are stored")] = 8192,
    remove_drift: Annotated[bool, option("subtract the mean velocity of each snapshot")] = False,
    lag_ps: Annotated[float | None, option("equilibrium: keep correlation functions up to this lag")] = None,
    block_ps: Annotated[float | None, option("length of the blocks whose scatter gives error bars")] = None,
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
    *files: Annotated[Path, option("datasets of equilibrium runs")],
    json_: Json = False,
    figures: Annotated[Path | None, option("folder for figures of the correlation functions and of D*, eta*")] = None,
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
