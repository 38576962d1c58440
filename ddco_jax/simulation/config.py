"""The configuration of a run: TOML in physical units, validated once and then converted to code units."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from ddco_jax import kernels, settings
from ddco_jax.correlations import MARKOV, Markov, Quench, StressMemory, StretchedExponential
from ddco_jax.correlations.model import Model
from ddco_jax.kernels import store
from ddco_jax.kernels.forms import Learned, in_units, tabulated
from ddco_jax.plasma import starts
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.settings import ConfigError, PlasmaConfig, Section
from ddco_jax.simulation.components import Components, Start


class GridSection(Section):
    """The phase-space grid of Eq. (19)."""

    length_m: PositiveFloat | None = None
    """Length Lx of the box, which is periodic."""
    length_angstrom: PositiveFloat | None = None
    """Instead: the same in 1e-10 m."""
    nx: PositiveInt
    """Cells along x; 1 for a homogeneous plasma."""
    velocity_extent_m_s: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    """Half extents V along vx, vy, vz: each axis covers [-V, V]."""
    nv: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Points along vx, vy, vz."""

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, data: Any) -> Any:
        # TOML has arrays, not tuples
        return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _one_length(self) -> "GridSection":
        if self.length_m is None and self.length_angstrom is None:
            raise ValueError("grid.length_m is missing; it must be a positive number")
        if self.length_m is not None and self.length_angstrom is not None:
            raise ValueError("grid.length_m and grid.length_angstrom are the same length; leave out one of the two")
        return self

    @property
    def length(self) -> float:
        """Length of the box, m."""
        return (self.length_angstrom or 0.0) * 1e-10 if self.length_m is None else self.length_m


class TimeSection(Section):
    """Fixed time step and number of steps."""

    step_ps: PositiveFloat
    steps: PositiveInt


class Named(Start):
    """An initial condition without parameters, named after its function in `plasma.starts`."""

    kind: Literal[
        "maxwellian",
        "symmetric_double_well",
        "asymmetric_double_well",
        "bump_on_tail",
        "cold_beam",
        "four_beams",
        "uniform_ball",
    ]


class Bimaxwellian(Start):
    """A bi-Maxwellian with Tx/Tperp = anisotropy."""

    kind: Literal["bimaxwellian"]
    anisotropy: PositiveFloat = 0.25


class TwoStream(Start):
    """Two beams along x at +-drift_m_s."""

    kind: Literal["two_stream"]
    drift_m_s: PositiveFloat


class BKW(Start):
    """The exact BKW solution at start_time_ps, for kernel maxwell_molecules."""

    kind: Literal["bkw"]
    start_time_ps: PositiveFloat


class ArrayStart(Start):
    """f from a NumPy file, (nx, nvx, nvy, nvz), code units."""

    kind: Literal["array"]
    file: str


Initial = Annotated[Named | Bimaxwellian | TwoStream | BKW | ArrayStart | Components, Field(discriminator="kind")]


class CollisionsSection(Section):
    """The collision kernel, by name or by the folder of a training (`none`: collisionless), and its numerics."""

    kernel: str = "ddco"
    prefactor: PositiveFloat | None = None
    """Replaces the prefactor of an analytic kernel: gamma of P/|u|, kappa of |u|^2 P, code units."""
    method: Literal["spectral", "direct"] = "spectral"
    force: Literal["ratio", "log"] = "ratio"
    """The force that drives the flux: from differences of f/M with a Maxwellian M (ratio), or the paper's, of log f
    (log)."""
    differences: Literal["central", "fourth", "sixth", "eighth"] = "eighth"
    """Order of the velocity differences; the paper's are central (order 2)."""
    step: Literal["chebyshev", "midpoint"] = "chebyshev"
    """Time stepping of collisions: the stabilised Chebyshev rule, which keeps f positive and the entropy
    non-decreasing, or the paper's explicit midpoint rule."""
    stages: Annotated[int, Field(ge=2, le=50)] | None = None
    """Evaluations of C[f] per Chebyshev step; by default chosen for the stiffness of the initial state."""
    substeps: PositiveInt = 1
    """Midpoint rule: collision steps per time step."""
    cells_at_once: PositiveInt = 1
    """Cells in x whose collisions are evaluated together; fewer need less memory."""
    buildup: Literal["auto", "off", "quench", "aged"] = "auto"
    """Correlations: they build up from t = 0 (quench); they are fully developed, with the memory of the stress that the
    kernel has learned (aged); or the kernel acts alone, without age or memory (off).  auto: aged where the initial
    condition is a Maxwellian, BKW or an array, else quench."""
    buildup_time: PositiveFloat | None = None
    """Time (1/omega_p) in the build-up amplitude 1 - exp(-(s/time)^exponent) at age s, 0.45 by default.  Where neither
    it nor buildup_exponent is set, the build-up that the kernel has learned is used, if any."""
    buildup_exponent: PositiveFloat | None = None
    """Exponent of the build-up amplitude, 1.3 by default; see buildup_time."""

    @model_validator(mode="after")
    def _known(self) -> "CollisionsSection":
        known = store.names()
        if self.kernel not in [*known, "none"] and not (Path(self.kernel) / store.SPECIFICATION).is_file():
            close = difflib.get_close_matches(self.kernel, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}, none"
            raise ValueError(f"collisions.kernel: no kernel {self.kernel!r}; {hint}")
        if self.prefactor is not None and self.kernel not in store.NAMED:
            raise ValueError("collisions.prefactor: only analytic kernels have one")
        if self.step == "chebyshev" and self.substeps != 1:
            raise ValueError('collisions.substeps: only step = "midpoint" takes them; leave the key out')
        if self.step == "midpoint" and self.stages is not None:
            raise ValueError('collisions.stages: only step = "chebyshev" takes them; leave the key out')
        if self.force == "log" and self.differences != "central":
            raise ValueError(
                'collisions.differences: force = "log" is stable with "central" only where f is steep; '
                'set force = "ratio" for higher orders'
            )
        return self


class OutputSection(Section):
    """Output intervals in steps; they do not change the solution."""

    history_every: PositiveInt = 1
    snapshot_every: PositiveInt = 10
    checkpoint_every: PositiveInt = 10
    checkpoints_kept: PositiveInt = 2
    distribution: bool = False
    """Store the whole f in the snapshots."""


PAPER_SCHEME: dict[str, Any] = {
    "x_flux": "upwind",
    "collisions": {"force": "log", "differences": "central", "step": "midpoint"},
}
"""Values that `scheme = "paper"` sets for keys that are not given; the defaults are those of `scheme = "accurate"`."""


class Config(PlasmaConfig):
    """All settings of a run."""

    description: str = ""
    scheme: Literal["accurate", "paper"] = "accurate"
    """Sets the defaults of x_flux and of collisions.force, differences and step."""
    precision: Literal["float64", "float32"] = "float64"
    field: Literal["ampere", "poisson", "none"] = "ampere"
    x_flux: Literal["weno5", "upwind"] = "weno5"
    """Transport: fifth order in x and sixth in vx, positivity-preserving (weno5), or the paper's fluxes, first-order
    upwind in x and central in vx (upwind)."""
    grid: GridSection
    time: TimeSection
    initial: Initial
    collisions: CollisionsSection = CollisionsSection()
    output: OutputSection = OutputSection()

    @model_validator(mode="before")
    @classmethod
    def _components(cls, data: Any) -> Any:
        """A start with components needs no kind."""
        start = data.get("initial") if isinstance(data, dict) else None
        if isinstance(start, dict) and "component" in start:
            data = data | {"initial": {"kind": "components"} | start}
        return data

    @model_validator(mode="before")
    @classmethod
    def _scheme(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("scheme") == "paper":
            collisions: Any = data.get("collisions", {})
            if isinstance(collisions, CollisionsSection):
                collisions = collisions.model_dump(exclude_unset=True)
            data = {"x_flux": PAPER_SCHEME["x_flux"]} | data
            if isinstance(collisions, dict):
                data["collisions"] = PAPER_SCHEME["collisions"] | collisions
        return data

    @property
    def correlations(self) -> Literal["off", "quench", "aged"]:
        """`collisions.buildup` with "auto" resolved; "off" for a collisionless run."""
        if self.collisions.kernel == "none":
            return "off"
        if self.collisions.buildup != "auto":
            return self.collisions.buildup
        start = self.initial
        aged = start.equilibrium if isinstance(start, Components) else start.kind in ("maxwellian", "bkw", "array")
        return "aged" if aged else "quench"

    @property
    def dt(self) -> float:
        """Time step, t0."""
        return self.time.step_ps * 1e-12 / self.scales.time

    def with_stages(self, stages: int | None) -> "Config":
        """A copy of the config with the given stages of the Chebyshev step; None for the midpoint rule."""
        return self.model_copy(update={"collisions": self.collisions.model_copy(update={"stages": stages})})

    def build_grid(self) -> PhaseGrid:
        """The phase-space grid in code units."""
        scales, g = self.scales, self.grid
        vx, vy, vz = (v / scales.velocity for v in g.velocity_extent_m_s)
        return PhaseGrid(g.length / scales.length, g.nx, (vx, vy, vz), g.nv)

    def temperature(self, grid: PhaseGrid) -> np.ndarray:
        """kT/m in every cell, (nx,), V0^2."""
        wave = np.sin(2 * np.pi * grid.x / grid.length)
        T = self.scales.temperature_from_ev(self.plasma.temperature_eV + self.plasma.temperature_modulation_eV * wave)
        return T * (1 + self.initial.wave(grid, "temperature")) if isinstance(self.initial, Components) else T

    def build_kernel(self) -> kernels.Kernel | None:
        """The collision kernel, or None for a collisionless run.  Raises ConfigError where it cannot be loaded."""
        c = self.collisions
        if c.kernel == "none":
            return None
        if c.kernel in store.NAMED:
            return store.analytic(c.kernel, self.scales, c.prefactor)
        return tabulated(in_units(_learned(c.kernel).kernel, self.scales))

    def build_buildup(self) -> Model:
        """The law of the correlations; Markovian where they are off, or aged without a learned memory."""
        c = self.collisions
        if self.correlations == "off":
            return MARKOV
        if self.correlations == "aged":
            learned = MARKOV if c.kernel in store.NAMED else _learned(c.kernel).buildup
            if isinstance(learned, Quench) and isinstance(learned.memory, StressMemory):
                return learned.mature()
            return MARKOV
        given = {"time": c.buildup_time, "exponent": c.buildup_exponent}
        chosen = {k: v for k, v in given.items() if v is not None}
        if not chosen and c.kernel not in store.NAMED:
            learned = _learned(c.kernel).buildup
            if not isinstance(learned, Markov):
                return learned
        return StretchedExponential(**chosen)

    def build_distribution(self, grid: PhaseGrid) -> np.ndarray:
        """f(t = 0), (nx, nvx, nvy, nvz), n0 V0^-3, in double precision."""
        start = self.initial
        f = (
            _load_array(start.file, grid)
            if isinstance(start, ArrayStart)
            else self._formula(grid, self.temperature(grid), self._drift(grid))
        )
        if isinstance(start, Components):
            return f * self.perturbation(grid)[:, None, None, None]
        return starts.perturb(grid, f, start.density_perturbation, start.perturbation_mode)

    def build_cell(self, grid: PhaseGrid, cell: int) -> np.ndarray:
        """f(t = 0) of one cell alone, (nvx, nvy, nvz), n0 V0^-3; equal to `build_distribution` to rounding."""
        if isinstance(self.initial, ArrayStart):
            f = _load_cell(self.initial.file, grid, cell)
        else:
            T, drift = (a[cell : cell + 1] for a in (self.temperature(grid), self._drift(grid)))
            f = self._formula(grid, T, drift)[0]
        f *= self.perturbation(grid)[cell]
        return f

    def perturbation(self, grid: PhaseGrid) -> np.ndarray:
        """Density of every cell relative to the unperturbed initial condition, (nx,)."""
        start, ones = self.initial, np.ones((grid.nx, 1, 1, 1))
        relative = starts.perturb(grid, ones, start.density_perturbation, start.perturbation_mode).ravel()
        return relative * (1 + start.wave(grid, "density")) if isinstance(start, Components) else relative

    def _drift(self, grid: PhaseGrid) -> np.ndarray:
        """Perturbation of the drift along x in every cell, (nx,), V0."""
        if not isinstance(self.initial, Components):
            return np.zeros(grid.nx)
        return self.scales.temperature_from_ev(self.plasma.temperature_eV) ** 0.5 * self.initial.wave(grid, "drift")

    def _formula(self, grid: PhaseGrid, T: np.ndarray, perturbed_drift: np.ndarray) -> np.ndarray:
        """f, (cells, nvx, nvy, nvz), of cells with temperatures T (V0^2) and perturbations of the drift (V0), (cells,).

        It is without the density perturbation.
        """
        start, n, cells = self.initial, self.density, PhaseGrid(grid.length, len(T), grid.v_max, grid.nv)
        try:
            if isinstance(start, BKW):
                kappa = 1 / 24 if self.collisions.prefactor is None else self.collisions.prefactor
                time = start.start_time_ps * 1e-12 / self.scales.time
                return starts.bkw(cells, n, self.temperature(grid)[0], time, kappa)
            if isinstance(start, Components):
                mean = self.scales.temperature_from_ev(self.plasma.temperature_eV)
                parts = start.parts(self.scales, self.plasma)
                return starts.components(cells, n, parts, T / mean, perturbed_drift)
            if isinstance(start, TwoStream):
                drift = start.drift_m_s / self.scales.velocity
                hottest = np.max(self.temperature(grid))
                return starts.two_stream(cells, n, T, drift * np.sqrt(np.max(T) / hottest))
            if isinstance(start, Bimaxwellian):
                return starts.bimaxwellian(cells, n, T, start.anisotropy)
            return getattr(starts, start.kind)(cells, n, T)
        except ValueError as error:
            raise ConfigError(f"initial: {error}") from None


def _learned(kernel: str) -> Learned:
    try:
        return store.load_learned(kernel)
    except ValueError as error:
        raise ConfigError(f"collisions.kernel: {error}") from None


def _open_array(file: str, grid: PhaseGrid) -> np.ndarray:
    """The array of a file, memory-mapped.  Raises ConfigError where it is not a real array of the grid's shape."""
    try:
        f = np.load(file, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise ConfigError(f"initial.file: cannot read {file} ({error.strerror or 'damaged'})") from None
    except Exception:  # NumPy raises errors of many kinds where a file is damaged
        f = None
    if not isinstance(f, np.ndarray):
        raise ConfigError(f"initial.file: {file} is not a plain NumPy array file (.npy without objects)")
    if f.shape != grid.shape:
        raise ConfigError(f"initial.file: {file} has shape {f.shape}, the grid needs {grid.shape} (nx, nvx, nvy, nvz)")
    if not np.issubdtype(f.dtype, np.floating):
        raise ConfigError(f"initial.file: {file} must hold real numbers, not {f.dtype}")
    return f


def _load_cell(file: str, grid: PhaseGrid, cell: int) -> np.ndarray:
    """f of one cell, in double precision; the file is reopened each time, so that memory holds no other cell."""
    f = np.array(_open_array(file, grid)[cell], np.float64)
    lowest, highest = np.min(f), np.max(f)
    if not (lowest >= 0 and np.isfinite(highest)):  # NaN fails the first comparison
        raise ConfigError(f"initial.file: {file} must hold finite, non-negative real numbers; cell {cell} does not")
    return f


def _load_array(file: str, grid: PhaseGrid) -> np.ndarray:
    f = np.empty(grid.shape)
    for cell in range(grid.nx):
        f[cell] = _load_cell(file, grid, cell)
    if not np.any(f):
        raise ConfigError(f"initial.file: {file} holds only zeros")
    return f


def shipped_configs() -> dict[str, Path]:
    """The configs that come with the package, by name."""
    return settings.shipped()


def load(source: str, overrides: settings.Overrides = ()) -> tuple[Config, str]:
    """Read a config file, or a shipped one by name, with overrides.

    Returns the config and its short name.  Raises ConfigError with one line that names the key and the remedy.
    """
    data, path = settings.read(source, shipped_configs(), overrides)
    settings.absolute_file(data, "initial", path.parent)
    return parse(data, source), path.stem


def parse(data: dict[str, Any], source: str = "config") -> Config:
    """Check a nested dict of settings.  Raises ConfigError with one line."""
    return settings.parse(Config, data, source)
