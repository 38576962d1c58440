"""Configs and runs from Python: what `ddco run` does, as functions."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import xarray as xr

from ddco_jax import settings
from ddco_jax.settings import tuples
from ddco_jax.simulation import config as configs
from ddco_jax.simulation import results
from ddco_jax.simulation import run as runner
from ddco_jax.simulation.config import Config


def load_config(source: str | Path | Config, overrides: Mapping[str, Any] | None = None) -> Config:
    """A config from a TOML file, or a shipped one by name (`ddco configs` lists them).

    `overrides` replaces settings: values by section.key, in the units that the keys name.  A config that is loaded
    already may be given in place of its name.  All keys: docs/configuration.md.
    Raises ConfigError, a ValueError whose message is one line that names the key and the remedy.

    Examples:
        >>> import ddco_jax as ddco
        >>> config = ddco.load_config("relaxation", {"plasma.temperature_eV": 0.3, "grid.nv": [24, 20, 20]})
        >>> config.plasma.temperature_eV, config.grid.nv, config.time.steps
        (0.3, (24, 20, 20), 48)
    """
    return _named(source, overrides)[0]


def _named(source: str | Path | Config, overrides: Mapping[str, Any] | None) -> tuple[Config, str]:
    """The config, and the name of a run of it."""
    if not isinstance(source, Config):
        return configs.load(str(source), overrides or {})
    if not overrides:
        return source, "run"
    data = tuples(source.model_dump(mode="json", exclude_unset=True))
    settings.override(data, overrides)
    return configs.parse(data), "run"


def run(
    config: str | Path | Config,
    folder: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    progress: bool | None = None,
) -> xr.DataTree:
    """Run a config and return its result, as `ddco run` and `open_result` do.

    `config` and `overrides` are those of `load_config`.  The run is stored in `folder`, which must be new or empty, and
    can be resumed with `ddco resume` after a kill.  Without a folder nothing is stored, and the result is in memory.
    The result has the nodes `history` (conserved quantities and entropy, per step) and `snapshots` (moments, field and
    marginals of f); each variable has an attribute `units`.  Notes of the check go to stderr.  `progress` switches the
    progress bar; by default it is shown on a terminal.  Double precision is switched on in JAX for the time of the run.
    Raises ConfigError for a mistake in the config, RunFailed where the run cannot go on; both are in
    `ddco_jax.settings`.

    Examples:
        >>> import ddco_jax as ddco
        >>> small = {"grid.nv": [20, 16, 16], "time.steps": 2, "collisions.kernel": "landau"}
        >>> result = ddco.run("relaxation", overrides=small)
        >>> dict(result["snapshots"]["f_vxvy"].sizes)
        {'t': 2, 'x': 1, 'vx': 20, 'vy': 16}
        >>> energy = result["history"]["kinetic_energy"]
        >>> bool(abs(energy[-1] / energy[0] - 1) < 1e-13)
        True
    """
    loaded, name = _named(config, overrides)
    with _precision(loaded.precision):
        if folder is not None:
            runner.run(loaded, Path(folder), name, progress)
            return results.open_result(folder)
        with tempfile.TemporaryDirectory(prefix="ddco-") as temporary:
            runner.run(loaded, Path(temporary), name, progress)
            return results.open_result(temporary).load()


@contextlib.contextmanager
def _precision(name: str) -> Iterator[None]:
    """JAX with double precision where a run needs it, and afterwards as it was."""
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", before or name == "float64")
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)
