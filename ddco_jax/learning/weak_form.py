"""The learning data: measured rates of the test functions, and what any kernel predicts for them.

A `Run` holds one homogeneous MD run in thermal units and times omega_p t: the measured rates over the intervals between
snapshots, and the pair averages (`pairs`, `nodes`) from which a kernel's rates follow by a product.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline
from tqdm import tqdm

from ddco_jax.correlations.buildup import JUMP, Amplitude
from ddco_jax.correlations.microfield import NODES, RATIO, times
from ddco_jax.learning import jumps, nodes
from ddco_jax.learning.pairs import CONSERVED, FIRST, microfield_averages, microfield_rates, pair_averages
from ddco_jax.md.dataset import open_dataset
from ddco_jax.md.test_functions import TEST_FUNCTIONS, VERSION
from ddco_jax.settings import ConfigError

EARLY, EVERY = 1.2, 2
"""Pair averages are made of every stored snapshot until EARLY (1/omega_p), where those of narrow beams bend, and of
every second one after that."""
SIMPSON = ((0.0, 1 / 6), (0.5, 4 / 6), (1.0, 1 / 6))
"""Points and weights in an interval: the rate of a quench curves within it."""
CALIBRATION_STEPS = 50
SINGULAR = 1e-5
"""Combinations of test functions of smaller variance than this share of the largest are not matched."""
PLAUSIBLE = (1e-3, 200.0)
"""Gamma outside is taken for a mistake in units: gas without correlations, or a crystal."""
PARTICLES_PER_FUNCTION = 20
"""Stored particles that calibration needs at least, per test function."""
SIGNAL = 1.5
"""Least mean square of rates over their errors; 1 would be noise alone."""
ANISOTROPY = TEST_FUNCTIONS.names.index("cx^2 cy^0 cz^0")
SIZABLE = 0.05
"""Least anisotropy whose decay is compared."""
AXISYMMETRIC = ("bimaxwellian", "bump_on_tail", "cold_beam")
REFLECTED = ("bimaxwellian",)
CUBIC = ("uniform", "symmetric_double_well")
TETRAHEDRAL = ("four_beams",)
ISOTROPIC = ("maxwellian", "uniform_ball", "equilibrium")


class Run(NamedTuple):
    """One MD run as the learning sees it; T snapshots with pair averages, I intervals, K test functions."""

    name: str
    start: str
    gamma: float
    density: float
    temperature: float
    plasma_frequency: float
    averages: np.ndarray
    """(2, T, K, 3, nodes.COUNT)."""
    jumped: np.ndarray
    """The same of particles that have jumped as in collisions (`buildup.JUMP`)."""
    microfield: np.ndarray
    """(T, 1 + NODES, near, K + 4, 5): `microfield_averages`."""
    interpolation: np.ndarray
    """(I, 3, T): from snapshots to the Simpson points of each interval."""
    times: np.ndarray
    """(I, 3): omega_p t of the Simpson points."""
    rate: np.ndarray
    """(I, K): measured, per omega_p t."""
    error: np.ndarray
    """(I, K): standard errors."""
    anisotropy: np.ndarray
    """(I + 1,): (Tx - Tperp)/T at the snapshots."""
    anisotropy_error: np.ndarray
    """(I + 1,): its standard error."""
    jump: np.ndarray
    """(I, K'): what `jumps.measured` finds."""
    jump_error: np.ndarray
    """(I, K'): its standard error, infinite where nothing is known."""
    jump_first: np.ndarray
    """(I,): J at the first k."""


def symmetrise(c: np.ndarray, start: str, rng: np.random.Generator) -> np.ndarray:
    """c (N, 3) moved at random within the symmetries that the start's distribution has: less noise, no bias."""
    if start not in AXISYMMETRIC + CUBIC + TETRAHEDRAL + ISOTROPIC:
        return c
    if start in ISOTROPIC:
        direction = rng.standard_normal(c.shape)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        return direction * np.linalg.norm(c, axis=1, keepdims=True)
    if start in CUBIC + REFLECTED:
        c = c * rng.choice([-1.0, 1.0], c.shape)
    if start in TETRAHEDRAL:  # an even number of signs
        sign = rng.choice([-1.0, 1.0], c.shape)
        c = c * sign * sign.prod(1, keepdims=True)
    if start in CUBIC + TETRAHEDRAL:
        return np.take_along_axis(c, np.argsort(rng.random(c.shape), axis=1), axis=1)
    angle = rng.uniform(0, 2 * np.pi, len(c))
    across = np.hypot(c[:, 1], c[:, 2])
    return np.stack([c[:, 0], across * np.cos(angle), across * np.sin(angle)], axis=1)


def calibrate(c: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Weights (N,), mean 1, with which the averages of the test functions over c are those of all particles.

    An exponential tilt of the subset: what the test functions can tell, the subset then knows to the noise of the
    whole run; it is the smallest change (in relative entropy) that does so.
    """
    psi = TEST_FUNCTIONS(c) - target
    z = psi / (psi.std(0) + 1e-12)
    variance, directions = np.linalg.eigh(z.T @ z / len(z))
    z = z @ directions[:, variance > SINGULAR * variance[-1]]
    tilt = np.zeros(z.shape[1])
    weight = np.full(len(z), 1 / len(z))
    for _ in range(CALIBRATION_STEPS):
        residual = weight @ z
        if np.abs(residual).max() < 1e-10:
            break
        hessian = (z * weight[:, None]).T @ z - np.outer(residual, residual)
        tilt -= np.linalg.solve(hessian, residual)
        exponent = z @ tilt
        weight = np.exp(exponent - exponent.max())
        weight /= weight.sum()
    return weight * len(z)


def load_run(path: Path, cache: Path | None = None, rounds: int = 6) -> Run:
    """The learning data of one file, `rounds` pairings a snapshot and half; kept in `cache` once made.

    Raises ConfigError where the file is not fit to learn from.
    """
    data = open_dataset(path)
    _refuse(path, data)
    data = data.isel(replicate=0, x=0)
    omega, start = float(data.attrs["plasma_frequency"]), str(data.attrs["start"])
    data = thinned(data)
    kept = data["t_kept"].to_numpy() * omega
    edges = data["t"].to_numpy() * omega
    points = edges[:-1, None] + np.diff(edges)[:, None] * np.array([p for p, _ in SIMPSON])
    c = data["velocity"].to_numpy() / float(data["thermal_speed"])
    jump, jump_error, jump_first = jumps.measured(c, kept, edges)
    return Run(
        name=path.stem,
        start=start,
        gamma=float(data.attrs["coupling_parameter"]),
        density=float(data.attrs["density"]),
        temperature=float(data.attrs["temperature"]),
        plasma_frequency=omega,
        averages=_averages(path, data, rounds, cache, spread=0.0),
        jumped=_averages(path, data, rounds, cache, spread=JUMP),
        microfield=_microfield(path, data, cache),
        interpolation=_interpolation(kept, points),
        times=points,
        rate=data["psi_rate"].to_numpy() / omega,
        error=data["psi_rate_error"].to_numpy() / omega,
        jump=jump,
        jump_error=jump_error,
        jump_first=jump_first,
        **_anisotropy(data),
    )


def thinned(data: xr.Dataset) -> xr.Dataset:
    """The stored snapshots that pair averages are made of."""
    early = data["t_kept"].to_numpy() * float(data.attrs["plasma_frequency"]) < EARLY
    last = max(int(early.sum()) - 1, 0)
    return data.isel(t_kept=[*range(last), *range(last, len(early), EVERY)])


def _interpolation(kept: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Weights (*points.shape, T) of a cubic spline; its slope is zero at t = 0, where a quench has not moved yet."""
    start = (1, np.zeros(len(kept))) if kept[0] == 0 else "not-a-knot"
    return CubicSpline(kept, np.eye(len(kept)), bc_type=(start, "not-a-knot"))(points)


def _anisotropy(data: xr.Dataset) -> dict[str, np.ndarray]:
    axis = data["temperature_axis"].to_numpy() / float(data.attrs["temperature"])
    # of variances 2 T_a^2/N each
    variance = (2 * axis[:, 0] ** 2 + (axis[:, 1] ** 2 + axis[:, 2] ** 2) / 2) / float(data.attrs["particles"])
    return {"anisotropy": axis[:, 0] - axis[:, 1:].mean(1), "anisotropy_error": variance**0.5}


def _refuse(path: Path, data: xr.Dataset) -> None:
    """Raise ConfigError for data that no kernel can be learned from, and say why."""
    if "psi_rate" not in data or "velocity" not in data:
        raise ConfigError(f"{path}: holds no rates of test functions or no particles; is it a homogeneous quench?")
    if data.attrs["test_functions_version"] != VERSION:
        raise ConfigError(f"{path}: other test functions than this version's; make or import it again")
    if data.sizes["x"] > 1:
        raise ConfigError(f"{path}: {data.sizes['x']} cells along x; kernels are learned from homogeneous runs")
    gamma = float(data.attrs["coupling_parameter"])
    if not PLAUSIBLE[0] < gamma < PLAUSIBLE[1]:
        raise ConfigError(f"{path}: Gamma = {gamma:.3g} is no moderately coupled plasma; were the units right?")
    for name in ("velocity", "psi", "psi_rate", "psi_rate_error"):
        if not np.isfinite(data[name].to_numpy()).all():
            raise ConfigError(f"{path}: {name} holds values that are not finite")
    kept, needed = data.sizes["particle"], PARTICLES_PER_FUNCTION * len(TEST_FUNCTIONS)
    if kept < needed:
        raise ConfigError(
            f"{path}: {kept} stored particles are too few for {len(TEST_FUNCTIONS)} test functions; "
            f"set statistics.particles_kept to {needed} or more"
        )
    signal = float(np.mean((data["psi_rate"] / data["psi_rate_error"]).to_numpy() ** 2))
    if signal < SIGNAL:
        raise ConfigError(f"{path}: the rates do not rise above their noise; use more particles or a start farther off")


def load_runs(
    paths: Sequence[Path],
    cache: Path | None,
    rounds: int = 6,
    progress: bool = False,
    gamma_range: tuple[float, float] | None = None,
) -> list[Run]:
    """The learning data of several files, of those with Gamma in the range where one is given."""
    if gamma_range is not None:
        paths = [
            p for p in paths if gamma_range[0] <= float(open_dataset(p).attrs["coupling_parameter"]) <= gamma_range[1]
        ]
    if not paths:
        raise ConfigError("data.gamma: no file of data.files is in this range")
    return [load_run(p, cache, rounds) for p in tqdm(paths, unit="run", desc="pair averages", disable=not progress)]


def _averages(path: Path, data: xr.Dataset, rounds: int, cache: Path | None, spread: float) -> np.ndarray:
    """Pair averages of all stored snapshots, of particles as they are or after jumps as in collisions."""

    def make():
        each = [pair_averages(c, weight, rounds, rng, spread) for c, weight, rng in snapshots(data)]
        return np.stack(each, axis=1).astype(np.float32)

    settings = (rounds, EARLY, EVERY, nodes.RELATIVE, nodes.PECULIAR)
    return _cached(path, "jumped-" if spread else "", (*settings, spread) if spread else settings, cache, make)


def _microfield(path: Path, data: xr.Dataset, cache: Path | None) -> np.ndarray:
    """Rates by the microfield at all stored snapshots."""

    def make():
        return np.stack([microfield_averages(c, weight) for c, weight, _ in snapshots(data)])

    return _cached(path, "microfield-", ("near", EARLY, EVERY, FIRST, NODES, RATIO, nodes.NEAR), cache, make)


def snapshots(data: xr.Dataset) -> Iterator[tuple[np.ndarray, np.ndarray, np.random.Generator]]:
    """Velocities in thermal units, their weights, and a generator for what is drawn from them, of stored snapshots."""
    thermal, times = float(data["thermal_speed"]), data["t"].to_numpy()
    for i, t in enumerate(data["t_kept"].to_numpy()):
        rng = np.random.default_rng([i, 17])
        c = symmetrise(data["velocity"].to_numpy()[i] / thermal, str(data.attrs["start"]), rng)
        yield c, calibrate(c, data["psi"].to_numpy()[int(np.argmin(np.abs(times - t)))]), rng


def _cached(path: Path, what: str, settings: tuple, cache: Path | None, make: Callable) -> np.ndarray:
    """An array made of a file with these settings, from the cache where it has it."""
    if cache is None:
        return make()
    key = hashlib.sha256(path.read_bytes() + repr(settings).encode()).hexdigest()
    stored = cache / f"{path.stem}-{what}{key[:16]}.npy"
    if stored.exists():
        return np.load(stored, allow_pickle=False)
    array = make()
    stored.parent.mkdir(parents=True, exist_ok=True)
    partial = stored.with_suffix(".part")
    with open(partial, "wb") as file:
        np.save(file, array)
    partial.replace(stored)
    return array


class Predictor(eqx.Module):
    """Everything about one run that prediction and loss need, as arrays."""

    averages: jnp.ndarray
    jumped: jnp.ndarray
    microfield: jnp.ndarray
    """(I, 3, 1 + NODES, near, K + 4, 5): `microfield_averages` at the Simpson points."""
    interpolation: jnp.ndarray
    times: jnp.ndarray
    rate: jnp.ndarray
    error: jnp.ndarray
    anisotropy: jnp.ndarray
    anisotropy_error: jnp.ndarray
    jump: jnp.ndarray
    jump_error: jnp.ndarray
    jump_first: jnp.ndarray
    density: jnp.ndarray
    temperature: jnp.ndarray
    plasma_frequency: jnp.ndarray
    gamma: jnp.ndarray

    @classmethod
    def of(cls, run: Run, dtype) -> "Predictor":
        """The arrays of a run in one precision."""
        names = [name for name in Run._fields if name not in ("name", "start", "microfield")]
        microfield = np.einsum("iqt,tnmkx->iqnmkx", run.interpolation, run.microfield, optimize=True)
        return cls(microfield=jnp.asarray(microfield, dtype), **{n: jnp.asarray(getattr(run, n), dtype) for n in names})

    def rates(self, kernel, buildup=None):
        """Predicted rates (2, I, K) per omega_p t, from the two independent halves of the pair averages."""
        values = nodes.kernel_values(kernel, self.density, self.temperature, self.plasma_frequency)
        values = values.astype(self.averages.dtype).reshape(3, len(nodes.RELATIVE), -1)
        averages = self.averages
        share = jnp.asarray([weight for _, weight in SIMPSON], self.averages.dtype) * jnp.ones_like(self.times)
        free = jnp.zeros_like(self.rate)
        shares = share[..., None] * jnp.ones(len(nodes.RELATIVE), share.dtype)
        if buildup is not None:
            amplitude = buildup(self.times, jnp.broadcast_to(self.gamma, self.times.shape))
            if isinstance(amplitude, Amplitude):
                averages = averages if amplitude.jump is None else self.jumped
                at_speeds = jax.tree.map(lambda a: a[..., None], amplitude)
                shares = shares * at_speeds(jnp.asarray(np.maximum(nodes.RELATIVE, nodes.SMALLEST), share.dtype))
                if amplitude.microfield is not None:
                    free = self._microfield_rates(amplitude, at_speeds, share)
            else:
                shares = shares * amplitude[..., None]
        by_speed = averages.reshape(*averages.shape[:-1], *values.shape[1:])
        by_speed = jnp.sum(by_speed * values, axis=(3, 5))  # twenty times as fast as einsum
        return jnp.einsum("iqu,iqt,htku->hik", shares, self.interpolation, by_speed) + free

    def _microfield_rates(self, amplitude: Amplitude, at_speeds: Amplitude, share):
        """Rates (I, K) by the diffusion in the microfield."""
        spread = jnp.zeros_like(share) if amplitude.spread is None else amplitude.spread
        smoothing = times(spread, jnp.asarray(FIRST, share.dtype))
        knots = jnp.asarray(nodes.NEAR, share.dtype)
        near = jnp.ones_like(share)[..., None] * (knots**0 if amplitude.crossing is None else at_speeds.near(knots))
        weights = (smoothing[..., :, None] * near[..., None, :]).reshape(*share.shape, -1)
        averages = jnp.einsum("iqz,iqzx->iqx", weights, self.microfield.reshape(*weights.shape, -1))
        rates = microfield_rates(averages.reshape(*share.shape, *self.microfield.shape[-2:]))
        return jnp.einsum("iq,iqk->ik", share * amplitude.microfield, rates)

    def roughness(self, kernel):
        """What the kernel has at this run's Gamma that the pair averages do not see (`nodes.roughness`)."""
        return nodes.roughness(kernel, self.density, self.temperature, self.plasma_frequency)

    def chi_squared(self, rates, floor: float = 0.0, unbiased: bool = True):
        """Mean of (predicted - measured)^2 over the squared error, of predicted rates (`rates`).

        `unbiased`: the product of the residuals of the two halves, which the sampling of pairs does not bias; it is
        what to report.  It is not what to minimise over a fixed set of pairs, for it has no lower bound there (a
        kernel can make the halves disagree); the square of the mean has, and its bias is the small variance of a
        mean over all pairs of a run.  `floor` adds that share of each test function's largest rate to its error.
        """
        residual = rates - self.rate
        variance = self.error**2 + (floor * jnp.max(jnp.abs(self.rate), axis=0)) ** 2
        square = residual[0] * residual[1] if unbiased else jnp.mean(residual, axis=0) ** 2
        return jnp.mean(square / variance)

    def drift_squared(self, rates, floor: float = 0.0):
        """Mean square of the accumulated residuals, the errors of <psi>(t) - <psi>(0), over their own errors.

        Rates are noisy and their small systematic errors add up: it is these sums that a forward solution shows.
        """
        interval = (self.times[:, -1] - self.times[:, 0])[:, None]
        residual = jnp.mean(rates, axis=0) - self.rate
        moved = jnp.cumsum(self.rate * interval, axis=0)
        variance = jnp.cumsum((self.error * interval) ** 2, axis=0)
        variance = variance + (floor * jnp.max(jnp.abs(moved), axis=0)) ** 2
        return jnp.mean(jnp.cumsum(residual * interval, axis=0) ** 2 / variance)

    def decay_error(self, rates):
        """Error of ln(Tx - Tperp)(t) at the snapshots, (I,); zero from where MD has no anisotropy to speak of.

        Its rate is that of cx^2, which energy conservation makes 2/3 of it.  The difference of the rates over the
        anisotropy, accumulated, is the relative error of a forward solution to first order.
        """
        q, interval = self.anisotropy, self.times[:, -1] - self.times[:, 0]
        rate = 1.5 * jnp.mean(rates, axis=0)[:, ANISOTROPY]
        sizable = jnp.cumprod((jnp.abs(q) > SIZABLE).astype(q.dtype))[1:]
        middle = jnp.where(sizable > 0, (q[1:] + q[:-1]) / 2, 1.0)
        return sizable * jnp.cumsum((rate * interval - jnp.diff(q)) / middle)

    def jump_squared(self, buildup):
        """Mean square of the misfit of the jumps of single particles, 0 without a microfield (`jumps`)."""
        amplitude = None if buildup is None else buildup(self.times, jnp.broadcast_to(self.gamma, self.times.shape))
        if not isinstance(amplitude, Amplitude) or amplitude.microfield is None:
            return jnp.zeros((), self.rate.dtype)
        share = jnp.asarray([weight for _, weight in SIMPSON], self.rate.dtype) * jnp.ones_like(self.times)
        partners = self.microfield[:, :, 0, :, -CONSERVED, 1]
        interval = self.times[:, -1] - self.times[:, 0]
        found = jumps.predicted(amplitude, partners, share, interval, self.jump_first)
        return jumps.misfit(found, self.jump, self.jump_error)

    def decay_squared(self, rates, floor: float = 0.0):
        """Mean square of `decay_error` over its statistical error and `floor`."""
        q = self.anisotropy[1:]
        statistical = self.anisotropy_error[1:] / jnp.maximum(jnp.abs(q), SIZABLE)
        return jnp.mean(self.decay_error(rates) ** 2 / (statistical**2 + floor**2))
