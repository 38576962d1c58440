"""Make the MD data of the repository: one file per run under data/md, skipped where it exists, resumed after a kill.

    python scripts/md_data.py KIND

KIND: training, beams, held_out, draws, blind, paper_size, validation, slabs, equilibrium, kicks or
equilibrium_held_out.

Each file takes at most about 20 minutes on two cores.  The runs of one Gamma share an equilibrated configuration,
made for the first of them and kept under --scratch; that of the slabs of family (i) is kept in data/md.
"""

import argparse
import dataclasses
import fnmatch
import sys
from collections.abc import Iterator
from pathlib import Path

from ddco_jax.md.config import MDConfig
from ddco_jax.md.dataset import join_draws, write
from ddco_jax.md.equilibrate import equilibrate, save_configuration
from ddco_jax.md.simulate import simulate
from ddco_jax.plasma import units
from ddco_jax.settings import parse, tuples

DATA = Path(__file__).resolve().parent.parent / "data" / "md"
TRAINING = (0.05, 0.1, 0.2, 0.4, 0.7, 0.9, 1.15, 1.45, 1.8, 2.1, 2.4, 3.0)
NARROW = (0.4, 0.7, 1.15, 1.8)
"""Gamma of the runs with narrow beams."""
HELD_OUT = (0.8, 1.3, 1.95)
ANISOTROPY = (0.5, 1.0, 2.3)
BLIND = (0.6, 1.0, 1.65)
KICKED = (0.5, 1.0, 2.0)
REFERENCE = {0.1: 2.318, 0.2: 1.159, 0.3: 0.773}
"""Gamma by temperature (eV) of the reference table of anisotropy decay."""
EQUILIBRIUM = (0.2, 0.5, 0.773, 1.0, 1.5, 2.0, 2.32, 3.0)
LARGE = 132_651  # 51^3
BI_OBLATE = {"kind": "bimaxwellian", "anisotropy": 0.25}
BI_PROLATE = {"kind": "bimaxwellian", "anisotropy": 4.0}
SLAB_STARTS = {
    "bimaxwellian": BI_OBLATE,
    "symmetric_double_well": {"kind": "symmetric_double_well"},
    "local_maxwellian": {"kind": "maxwellian"},
    "asymmetric_double_well": {"kind": "asymmetric_double_well"},
}


@dataclasses.dataclass(frozen=True)
class Job:
    """One output file: its settings and the equilibrated configuration that it shares (None: its own)."""

    path: Path
    settings: dict
    configuration: Path | None = None
    drop: tuple[str, ...] = ()
    """Prefixes of the names of variables that are not stored."""
    means: int = 0
    """Number of groups of draws whose means are stored; 0: every draw is stored."""
    run: dict = dataclasses.field(default_factory=dict)
    """Settings of the run that the equilibration of its configuration does not use."""


def temperature_eV(gamma: float) -> float:
    """kT (eV) at a coupling parameter and the paper's density."""
    scales = units.PAPER
    return scales.temperature_to_ev(scales.coupling_parameter(1.0, 1.0) / gamma)


def homogeneous(gamma: float, start: dict, seed: int, particles: int = LARGE, **sections) -> dict:
    """Settings of a cube at the paper's density: 2.4 t0 (3.16/omega_p) with snapshots every 0.1 t0."""
    T = temperature_eV(gamma)
    weak = gamma < 0.3
    time = {"duration_ps": 2.4, "snapshot_ps": 0.1}
    if gamma < 0.08:  # 0.06 sqrt(3) Gamma^1.5/omega_p: the default, half of it, would take an hour
        time["step_ps"] = 0.06 * 3**0.5 * gamma**1.5 * units.PAPER.debye_number
    return {
        "seed": seed,
        "plasma": {"density_m3": 1e24, "temperature_eV": T},
        "box": {"particles": particles},
        "equilibrate": {"time_ps": 6.0 if weak else 8.0, "step_ps": 0.01 if weak else 0.02},
        "start": start,
        "time": time,
        # bins of 0.08 V0 where they resolve 0.2 thermal widths, wider multiples for hot plasmas
        "statistics": {"bin_m_s": 800.0 * max(1, round((T / 0.2) ** 0.5)), "particles_kept": 8192, "kept_every": 2},
        **sections,
    }


def family(folder: str, gamma: float, starts: dict[str, dict], seed: int, scratch: Path, **keys) -> Iterator[Job]:
    """The runs of one Gamma, which share one configuration."""
    for i, (name, start) in enumerate(starts.items()):
        path = DATA / folder / f"gamma_{gamma:g}_{name}.nc"
        shared = scratch / f"{folder}_gamma_{gamma:g}.nc"
        yield Job(path, homogeneous(gamma, start, seed + i, **keys), shared)


def training(scratch: Path) -> Iterator[Job]:
    """Bi-Maxwellians with Tx < Tperp and Tx > Tperp, the uniform cube and a cold beam in a plasma, at twelve Gamma."""
    starts = {
        "bimaxwellian_0.25": BI_OBLATE,
        "bimaxwellian_4": BI_PROLATE,
        "uniform": {"kind": "uniform"},
        "bump_on_tail": {"kind": "bump_on_tail"},  # the only one that is not even in c
    }
    order = sorted(TRAINING, key=lambda g: (g < 0.3, g))
    for gamma in order:
        for job in family("training", gamma, starts, 1000 + 10 * TRAINING.index(gamma), scratch):
            yield dataclasses.replace(job, drop=("f_vxvy",) if gamma < 0.8 else ())


def beams(scratch: Path) -> Iterator[Job]:
    """Beams so narrow that the microfield widens them first: one in a plasma, or four alone; Gamma of the training."""
    for gamma in NARROW:
        seed = 1004 + 10 * TRAINING.index(gamma)
        for job in family("beams", gamma, {k: {"kind": k} for k in ("cold_beam", "four_beams")}, seed, scratch):
            if job.path.stem.endswith("four_beams"):  # after 1.6 ps they are no longer narrow
                job.settings["time"]["duration_ps"] = 1.6
            yield dataclasses.replace(job, drop=("f_vxvy",))


def held_out(scratch: Path) -> Iterator[Job]:
    """Starts and Gamma that no training sees."""
    starts = {
        "symmetric_double_well": {"kind": "symmetric_double_well"},
        "asymmetric_double_well": {"kind": "asymmetric_double_well"},
        "uniform_ball": {"kind": "uniform_ball"},
    }
    for i, gamma in enumerate(HELD_OUT):
        yield from family("held_out", gamma, starts, 2000 + 10 * i, scratch)
    for i, gamma in enumerate(ANISOTROPY):
        yield from family("held_out", gamma, {"bimaxwellian_0.25": BI_OBLATE}, 2100 + 10 * i, scratch)


def draws(scratch: Path) -> Iterator[Job]:
    """The mean of four more draws of every held-out run; averaged with the run, it more than halves the noise."""
    for job in held_out(scratch):
        path = DATA / "held_out_draws" / job.path.name
        yield four_draws(path, job.settings | {"seed": job.settings["seed"] + 500}, job.configuration)


def four_draws(path: Path, settings: dict, configuration: Path | None) -> Job:
    """The mean of four draws to 1.6 t0, histograms only; without a configuration each draw has its own."""
    settings = settings | {"replicates": 4, "time": {"duration_ps": 1.6, "snapshot_ps": 0.2}}
    settings["statistics"] = settings["statistics"] | {"particles_kept": 0}
    if configuration is None:
        settings["equilibrate"] = settings["equilibrate"] | {"shared": False}
    return Job(path, settings, configuration, ("psi", "moment", "power", "f_vy", "f_vz"), means=1)


def blind(scratch: Path) -> Iterator[Job]:
    """The start with the narrowest beams at further Gamma, made after the kernel that ships was chosen.

    Every draw has its own configuration: in a single one <F F>, and with it the initial spreading rate of a narrow
    beam, is off by up to 3.5 % (Gamma = 0.7).
    """
    for i, gamma in enumerate(BLIND):
        settings = homogeneous(gamma, {"kind": "asymmetric_double_well"}, 2200 + 10 * i)
        yield four_draws(DATA / "blind" / f"gamma_{gamma:g}_asymmetric_double_well.nc", settings, None)


def paper_size(scratch: Path) -> Iterator[Job]:
    """One bi-Maxwellian at the paper's N = 1e6, to see errors that the noise of smaller runs hides."""
    sections = {"time": {"duration_ps": 1.6, "snapshot_ps": 0.1}}
    settings = homogeneous(REFERENCE[0.2], BI_OBLATE, 3000, 1_000_000, **sections)
    yield Job(DATA / "held_out" / "paper_size_bimaxwellian_0.25.nc", settings, scratch / "paper_size.nc")


def validation(scratch: Path) -> Iterator[Job]:
    """Anisotropy decay at the Gamma of the reference table: usual settings, half the step, ten times the accuracy, 2 N.

    `coarse` has the force accuracy of the slabs.  Snapshots are every 0.2/omega_p, and the table has the rates in the
    middle of these intervals.
    """
    time = {"duration_ps": 1.368, "snapshot_ps": 0.152}
    variants = {
        "usual": {},
        "half_step": {"time": {**time, "step_ps": 0.0095}},
        "accurate": {"forces": {"accuracy": 1e-5, "cutoff_angstrom": 350.0}},
        "coarse": {"forces": {"accuracy": 5e-4, "order": 5, "cutoff_angstrom": 260.0}},
        "double": {},
    }
    for i, gamma in enumerate(REFERENCE.values()):
        for j, (name, sections) in enumerate(variants.items()):
            n = 27_648 if name == "double" else 13_824
            keys = {"time": time, "replicates": 8, **sections}
            settings = homogeneous(gamma, BI_OBLATE, 4000 + 100 * i + 10 * j, n, **keys)
            settings["statistics"] |= {"particles_kept": 0, "bin_m_s": 8000.0}  # only moments are wanted
            settings["equilibrate"] |= {"shared": False}  # so that the scatter of the draws includes that of positions
            path = DATA / "validation" / f"gamma_{gamma:g}_{name}.nc"
            yield Job(path, settings, None, ("psi", "moment", "f_", "power"))


ACCURATE_SLABS = ("i_bimaxwellian", "ii_bimaxwellian", "ii_asymmetric_double_well")
"""Slabs whose energy drifts by more than 1e-4 NkT per 10/omega_p at a force error of 5e-4: they have the usual one."""


def slabs(scratch: Path) -> Iterator[Job]:
    """The four starts of Eq. (E.2) in the paper's box at a tenth of its cross-section, for both families.

    Family (i), equilibrated at T(x), has ten draws on one configuration, stored as the means of two halves; family
    (ii), equilibrated at the mean temperature, has one draw.
    """
    for letter, temperature, replicates in (("i", "local", 10), ("ii", "mean", 1)):
        shared = (DATA / "slabs" if letter == "i" else scratch) / f"configuration_{letter}.nc"
        for k, (name, start) in enumerate(SLAB_STARTS.items()):
            settings = {
                "seed": 5000 + 1000 * (letter == "ii") + k,
                "replicates": replicates,
                "plasma": {"density_m3": 1e24, "temperature_eV": 0.2, "temperature_modulation_eV": 0.1},
                "box": {"particles": 1_600_000, "length_angstrom": 1024.0, "cells": 20},
                "equilibrate": {"time_ps": 8.0, "damping_ps": 0.38, "temperature": temperature},
                "start": start,
                "time": {"duration_ps": 0.8, "snapshot_ps": 0.1},
                # a force error of 5e-4 instead of 1e-4: 1.5 times faster, no visible effect on f (validation)
                "forces": {"accuracy": 5e-4, "order": 5, "cutoff_angstrom": 260.0},
                "statistics": {"particles_kept": 0, "extent_m_s": 4.0e4},
            }
            run = {"forces": {}} if f"{letter}_{name}" in ACCURATE_SLABS else {}
            yield Job(DATA / "slabs" / f"{letter}_{name}.nc", settings, shared, means=2 * (replicates > 1), run=run)


def equilibrium(scratch: Path) -> Iterator[Job]:
    """Correlation functions for Green-Kubo.

    Durations are multiples of the correlation time of the shear stress, 3 Gamma eta*/omega_p.
    """
    from ddco_jax.plasma import ocp

    for i, gamma in reversed(list(enumerate(EQUILIBRIUM))):  # the quick ones first
        tau = 3 * gamma * float(ocp.effective_potential(gamma)[1]) * units.PAPER.debye_number  # t0
        parts = 4 if gamma < 0.3 else 2
        for part in range(parts):
            settings = homogeneous(gamma, {"kind": "equilibrium"}, 7000 + 10 * i + part, 512)
            del settings["statistics"]
            settings["time"] = {"duration_ps": 900 * tau / parts}
            if gamma < 0.3:
                settings["time"]["step_ps"] = 0.05 * 3**0.5 * gamma**1.5 * units.PAPER.debye_number
            settings["correlations"] = {"sample_ps": 0.08, "lag_ps": 12 * tau, "block_ps": 36 * tau}
            yield Job(DATA / "equilibrium" / f"gamma_{gamma:g}_{part}.nc", settings)


def kicks(scratch: Path) -> Iterator[Job]:
    """Relaxing bi-Maxwellians with a kick at 1/omega_p: vx stretched, vx and vy swapped, or all velocities redrawn."""
    at = 0.76  # ps
    kinds = {
        "stretch_0.5": {"kind": "stretch", "factor": 0.5},
        "stretch_3": {"kind": "stretch", "factor": 3.0},
        "swap": {"kind": "swap"},
        "redraw": {"kind": "redraw"},
    }
    for i, gamma in enumerate(KICKED):
        for k, (name, kick) in enumerate(kinds.items()):
            time = {"duration_ps": 3.04, "snapshot_ps": 0.095}
            settings = homogeneous(gamma, BI_OBLATE, 8000 + 10 * i + k, time=time, kick=kick | {"time_ps": at})
            settings["statistics"]["particles_kept"] = 0
            path = DATA / "kicks" / f"gamma_{gamma:g}_{name}.nc"
            yield Job(path, settings, scratch / f"kicks_gamma_{gamma:g}.nc", ("psi", "f_vy", "f_vz", "f_vxvy"))


def equilibrium_held_out(scratch: Path) -> Iterator[Job]:
    """Correlation functions that no training sees, at four of the Gamma of `equilibrium`."""
    for job in equilibrium(scratch):
        if job.path.stem.split("_")[1] in ("0.5", "1", "2", "3"):
            settings = job.settings | {"seed": job.settings["seed"] + 500}
            yield dataclasses.replace(job, path=DATA / "equilibrium_held_out" / job.path.name, settings=settings)


def make(job: Job, processes: int, scratch: Path) -> None:
    """Run one job; a missing shared configuration is made first."""
    settings = job.settings | {"processes": processes}
    if job.configuration is not None:
        if not job.configuration.exists():
            config = parse(MDConfig, tuples(settings), job.path.name)
            work = scratch / f"{job.configuration.stem}.equilibrate"
            save_configuration(config, equilibrate(config, work, show=sys.stderr.isatty()), job.configuration)
        settings |= {"equilibrate": {**settings["equilibrate"], "file": str(job.configuration)}, **job.run}
    config = parse(MDConfig, tuples(settings), job.path.name)
    job.path.parent.mkdir(parents=True, exist_ok=True)
    data = simulate(config, job.path, progress=sys.stderr.isatty())
    if job.means:
        data = join_draws(data, job.means)
    if job.drop:
        data = data.drop_vars([v for v in data.variables if str(v).startswith(job.drop)])
    if job.drop or job.means:
        write(data, job.path)
    print(f"{job.path.relative_to(DATA.parent.parent)}  {job.path.stat().st_size / 1024:.0f} KiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    runs = (training, beams, held_out, draws, blind, paper_size, validation, slabs, equilibrium)
    runs += (kicks, equilibrium_held_out)
    kinds = {f.__name__: f for f in runs}
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--processes", type=int, default=2, help="MPI processes of LAMMPS")
    parser.add_argument("--scratch", type=Path, default=Path("md_scratch"), help="shared configurations")
    parser.add_argument("--only", default="*", help="run files whose name, without .nc, this pattern fits")
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    for job in kinds[arguments.kind](arguments.scratch.resolve()):
        if fnmatch.fnmatch(job.path.stem, arguments.only) and not job.path.exists():
            make(job, arguments.processes, arguments.scratch.resolve())


if __name__ == "__main__":
    main()
