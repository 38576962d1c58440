"""The configuration of an MD run: TOML in physical units, converted to code units."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal
from zipfile import BadZipFile

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ddco_jax import settings
from ddco_jax.md.lammps import Force, System
from ddco_jax.plasma import particles
from ddco_jax.settings import ConfigError, PlasmaConfig, Section

ENCOUNTER_FRACTION = 0.03
"""Largest step over the duration of a close encounter, sqrt(3) Gamma^1.5/omega_p.

At 0.1 a few fast, close encounters among 1e5 particles change the energy by 1e-3 NkT per 10/omega_p (measured at
Gamma = 0.4, starts with Tx = 2 T); at 0.03 by less than 1e-4.
"""
LARGEST_STEP = 0.02 * 1.3158
"""Largest step, 1/omega_p: 0.02 t0 at the paper's density."""
LARGEST_RUN = 2**31 - 1
"""Most steps of one LAMMPS run."""
CUTOFF = 3.0
"""Real-space cutoff in units of n^(-1/3)."""


class BoxSection(Section):
    """A cube, or with length_angstrom a slab of that length along x; the density fixes the other edges."""

    particles: PositiveInt
    length_angstrom: PositiveFloat | None = None
    cells: PositiveInt = 1
    """Cells along x in which statistics are kept; more than one needs a slab."""

    @model_validator(mode="after")
    def _slab(self) -> "BoxSection":
        if self.cells > 1 and self.length_angstrom is None:
            raise ValueError("box.cells above 1 needs box.length_angstrom")
        if self.particles < 64:
            raise ValueError("box.particles must be at least 64")
        return self


class EquilibrateSection(Section):
    """Langevin thermostat on positions and velocities before the start."""

    time_ps: PositiveFloat = 12.0
    limit_ps: PositiveFloat = 40.0
    """Longest equilibration: after time_ps it continues until the potential energy is that of equilibrium."""
    damping_ps: PositiveFloat = 0.5
    temperature: Literal["local", "mean"] = "local"
    """Thermostat of a slab: at T(x), family (i) of data/md/README.md, or at the mean temperature, family (ii)."""
    step_ps: PositiveFloat | None = None
    shared: bool = True
    """All replicates start from one configuration; otherwise each has its own, and their scatter is the full error."""
    file: str | None = None
    """File with an equilibrated configuration, used instead of equilibrating."""


class NamedStart(Section):
    """Velocities from a distribution without parameters; `equilibrium` keeps the velocities of the thermostat."""

    kind: Literal[
        "equilibrium",
        "maxwellian",
        "uniform",
        "uniform_ball",
        "symmetric_double_well",
        "asymmetric_double_well",
        "bump_on_tail",
        "cold_beam",
        "four_beams",
    ]


class BimaxwellianStart(Section):
    """Bi-Maxwellian velocities with Tx/Tperp = anisotropy."""

    kind: Literal["bimaxwellian"]
    anisotropy: PositiveFloat = 0.25


class SamplerStart(Section):
    """Velocities drawn from a NumPy file (M, 3), any unit: they are scaled to the exact temperature."""

    kind: Literal["sampler"]
    file: str


StartSection = Annotated[NamedStart | BimaxwellianStart | SamplerStart, Field(discriminator="kind")]


class StretchKick(Section):
    """vx - <vx> times sqrt(`factor`) in every cell, then the cell's velocities rescaled to its temperature before."""

    kind: Literal["stretch"]
    time_ps: PositiveFloat
    """A multiple of time.snapshot_ps; the snapshot at this time shows the state after the kick."""
    factor: PositiveFloat


class NamedKick(Section):
    """vx and vy exchanged (`swap`), or all velocities drawn anew from the start (`redraw`)."""

    kind: Literal["swap", "redraw"]
    time_ps: PositiveFloat
    """A multiple of time.snapshot_ps; the snapshot at this time shows the state after the kick."""


KickSection = Annotated[StretchKick | NamedKick, Field(discriminator="kind")]


class MDTimeSection(Section):
    """Duration and snapshots; the step is step_ps or the longest safe one, shortened to divide snapshot_ps."""

    duration_ps: PositiveFloat
    snapshot_ps: PositiveFloat = 0.1
    step_ps: PositiveFloat | None = None


class ForcesSection(Section):
    """Coulomb forces by the particle-particle particle-mesh method (PPPM)."""

    cutoff_angstrom: PositiveFloat | None = None
    accuracy: PositiveFloat = 1e-4
    """Error of the force, in units of the force between two particles one L0 apart."""
    order: Annotated[int, Field(ge=2, le=7)] = 6


class StatisticsSection(Section):
    """The statistics that are stored of each snapshot."""

    bin_m_s: PositiveFloat = 800.0
    extent_m_s: PositiveFloat | None = None
    """Half extent of the histograms; 7 thermal speeds of the hottest axis by default."""
    particles_kept: NonNegativeInt = 8192
    """Particles whose velocities are stored, the same ones at all times."""
    kept_every: PositiveInt = 1
    """Particles are stored at every kept_every-th snapshot."""


class CorrelationsSection(Section):
    """Equilibrium correlation functions, from blocks of a trajectory, instead of snapshots."""

    sample_ps: PositiveFloat = 0.08
    lag_ps: PositiveFloat
    """Longest lag."""
    block_ps: PositiveFloat
    """Length of a block; error bars come from the scatter of blocks."""

    @model_validator(mode="after")
    def _long(self) -> "CorrelationsSection":
        if self.block_ps < 2 * self.lag_ps:
            raise ValueError("correlations.block_ps must be at least twice correlations.lag_ps")
        return self


class MDConfig(PlasmaConfig):
    """All settings of an MD run."""

    description: str = ""
    seed: NonNegativeInt = 0
    replicates: PositiveInt = 1
    """Number of velocity draws."""
    processes: PositiveInt = 1
    """MPI processes of LAMMPS."""
    box: BoxSection
    equilibrate: EquilibrateSection = EquilibrateSection()
    start: StartSection
    time: MDTimeSection
    kick: KickSection | None = None
    """A sudden change of all velocities after the start."""
    forces: ForcesSection = ForcesSection()
    statistics: StatisticsSection = StatisticsSection()
    correlations: CorrelationsSection | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "MDConfig":
        if self.plasma.temperature_modulation_eV and self.box.length_angstrom is None:
            raise ValueError("plasma.temperature_modulation_eV needs a slab: set box.length_angstrom")
        if self.equilibrate.file is not None and not self.equilibrate.shared:
            raise ValueError("equilibrate.file is one configuration: equilibrate.shared must be true")
        if self.correlations is not None and (self.start.kind != "equilibrium" or self.box.cells > 1):
            raise ValueError('correlations need start.kind = "equilibrium" in a homogeneous box')
        if self.kick is not None:
            if self.correlations is not None:
                raise ValueError("kick: a run with [correlations] takes none; leave out one of the two")
            if self.kick.kind == "redraw" and self.start.kind == "equilibrium":
                raise ValueError(
                    'kick.kind = "redraw" draws from the start; choose a start.kind other than "equilibrium"'
                )
            snapshots = self.kick.time_ps / self.time.snapshot_ps
            if abs(snapshots - round(snapshots)) > 1e-6 or not 0 < self.kick.time_ps < self.time.duration_ps:
                raise ValueError("kick.time_ps must be a multiple of time.snapshot_ps within time.duration_ps")
        return self

    @model_validator(mode="after")
    def _within_range(self) -> "MDConfig":
        try:
            snapshot = self.interval(self.time.snapshot_ps)
            steps = self.interval(self.time.duration_ps) / self.steps_per(snapshot)[1]
            sizes: tuple[float, ...] = (
                self.coupling_parameter,
                self.plasma_frequency,
                self.temperature,
                *self.lengths,
                steps,
            )
        except (OverflowError, ZeroDivisionError, ValueError):
            steps, sizes = math.inf, (math.inf,)
        if not all(0 < size < math.inf for size in sizes):
            raise ValueError(
                "[units], [plasma], [box] and [time] together give numbers out of range; check their values"
            )
        if steps > LARGEST_RUN:
            raise ValueError(f"time.duration_ps: {steps:.2g} steps exceed the {LARGEST_RUN:.2g} of LAMMPS; lower it")
        return self

    @property
    def number_density(self) -> float:
        """Particles per L0^3."""
        return self.plasma.density_m3 * self.scales.length**3

    @property
    def temperature(self) -> float:
        """Mean kT/m, V0^2."""
        return self.scales.temperature_from_ev(self.plasma.temperature_eV)

    def temperature_at(self, x: np.ndarray) -> np.ndarray:
        """T(x), V0^2, at positions x (L0)."""
        modulation = self.scales.temperature_from_ev(self.plasma.temperature_modulation_eV)
        return self.temperature + modulation * np.sin(2 * np.pi * np.asarray(x) / self.lengths[0])

    @property
    def coupling_parameter(self) -> float:
        """Gamma at the mean temperature."""
        return float(self.scales.coupling_parameter(self.density, self.temperature))

    @property
    def plasma_frequency(self) -> float:
        """omega_p, 1/t0."""
        return float(self.scales.plasma_frequency(self.density))

    @property
    def lengths(self) -> tuple[float, float, float]:
        """Edges of the box, L0."""
        volume = self.box.particles / self.number_density
        if self.box.length_angstrom is None:
            edge = volume ** (1 / 3)
            return edge, edge, edge
        along = self.box.length_angstrom * 1e-10 / self.scales.length
        across = (volume / along) ** 0.5
        return along, across, across

    @property
    def longest_step(self) -> float:
        """min(0.02 t0, 0.03 sqrt(3) Gamma^1.5/omega_p) at the hottest place, t0."""
        hottest = self.temperature + abs(self.scales.temperature_from_ev(self.plasma.temperature_modulation_eV))
        gamma = float(self.scales.coupling_parameter(self.density, hottest))
        return min(LARGEST_STEP, ENCOUNTER_FRACTION * math.sqrt(3) * gamma**1.5) / self.plasma_frequency

    def interval(self, ps: float) -> float:
        """A time given in ps, converted to t0."""
        return ps * 1e-12 / self.scales.time

    def steps_per(self, interval: float) -> tuple[int, float]:
        """Number of steps in an interval (t0), and the step (t0) that divides the interval."""
        dt = self.longest_step if self.time.step_ps is None else self.interval(self.time.step_ps)
        steps = max(1, math.ceil(interval / dt - 1e-9))
        return steps, interval / steps

    def published(self) -> str:
        """The config as JSON for the metadata of results; files are given by their names without folders."""
        sections = self.model_dump(mode="json")
        for section in sections.values():
            if isinstance(section, dict) and section.get("file"):
                section["file"] = Path(section["file"]).name
        return json.dumps(sections)

    def system(self) -> System:
        """The plasma for LAMMPS, code units.  Raises ConfigError where the cutoff exceeds half the box."""
        length = self.scales.length
        cutoff = CUTOFF * self.number_density ** (-1 / 3)
        if self.forces.cutoff_angstrom is not None:
            cutoff = self.forces.cutoff_angstrom * 1e-10 / length
        if cutoff > 0.5 * min(self.lengths):
            raise ConfigError(
                f"forces.cutoff_angstrom: {cutoff * length * 1e10:.0f} is over half the box; lower it or add particles"
            )
        force = Force(cutoff, self.forces.accuracy, self.forces.order)
        return System(self.box.particles, self.lengths, self.scales.coulomb_constant, force, self.processes)

    def sampler(self) -> particles.Sampler | None:
        """A function that draws velocities in thermal units; None where the velocities of equilibrium are kept."""
        if isinstance(self.start, BimaxwellianStart):
            return particles.bimaxwellian(self.start.anisotropy)
        if isinstance(self.start, SamplerStart):
            return particles.resample(_load_velocities(self.start.file))
        return None if self.start.kind == "equilibrium" else getattr(particles, self.start.kind)


def _load_velocities(file: str) -> np.ndarray:
    try:
        velocities = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile):
        raise ConfigError(
            f"start.file: cannot read {file} as a plain NumPy array file; write it with numpy.save"
        ) from None
    if not isinstance(velocities, np.ndarray) or velocities.dtype.kind not in "fiu":
        raise ConfigError(f"start.file: {file} must hold one array of real numbers; write it with numpy.save")
    if velocities.ndim != 2 or velocities.shape[1] != 3 or len(velocities) < 2 or not np.isfinite(velocities).all():
        raise ConfigError(f"start.file: {file} must hold finite velocities of shape (M, 3), got {velocities.shape}")
    return velocities.astype(float)


def shipped_configs() -> dict[str, Path]:
    """The MD configs that come with the package, by name."""
    return settings.shipped("md")


def load(source: str, overrides: Sequence[str] = ()) -> MDConfig:
    """Read an MD config, or a shipped one by name.  Raises ConfigError with a message of one line."""
    data, path = settings.read(source, shipped_configs(), overrides)
    for section in ("start", "equilibrate"):
        settings.absolute_file(data, section, path.parent)
    return settings.parse(MDConfig, data, source)
