"""The copy of its learned kernel in the folder of a run, with hashes, and the config of a run that is resumed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddco_jax.kernels import store
from ddco_jax.plasma.clone import VERSION
from ddco_jax.settings import ConfigError, tuples
from ddco_jax.simulation.config import Config, parse

KERNEL = "kernel"
"""Subfolder of a run that holds the copy."""


def keep(config: Config, folder: Path) -> dict[str, str]:
    """Copy the learned kernel of a config into a run; returns hashes by file, {} for an analytic kernel or none."""
    name = config.collisions.kernel
    if name in ("none", *store.NAMED):
        return {}
    try:
        return store.copied(name, folder / KERNEL)
    except ValueError as error:
        raise ConfigError(f"collisions.kernel: {error}") from None


def with_kernel(config: Config, folder: Path, hashes: Mapping[str, str]) -> Config:
    """The config with the copy of its kernel, if there is one."""
    return _of(config, str(folder / KERNEL)) if hashes else config


def stored(folder: Path, settings: Mapping[str, Any], source: str) -> tuple[Config, list[str]]:
    """The config of a run from its stored settings, and notes.

    The notes say where the version is another one, and where an older run has no copy of its kernel.
    Raises ConfigError where settings or kernel are not those that were stored.
    """
    hashes, data = settings.get("kernel", {}), settings.get("config")
    if isinstance(data, dict) and "scheme" not in data:
        raise ConfigError(
            f"{folder}: begun with version 0.1, which does not count what collision steps do; finish it with that "
            'version, or begin it again with scheme = "paper"'
        )
    if not isinstance(data, dict) or not isinstance(data.get("collisions"), dict) or not isinstance(hashes, dict):
        raise ConfigError(f"{source}: holds no config of a run")
    name = data["collisions"].get("kernel")
    if hashes:
        try:
            store.require_unchanged(folder / KERNEL, hashes)
        except ValueError as error:
            raise ConfigError(f"{error}; restore it from a copy, or begin the run again in another folder") from None
        data = {**data, "collisions": {**data["collisions"], "kernel": str(folder / KERNEL)}}
    config, notes = parse(tuples(data), source), []
    if settings.get("version") != VERSION:
        notes.append(f"begun with version {settings.get('version')}, goes on with {VERSION}")
    if "kernel" not in settings and name not in ("none", *store.NAMED):
        notes.append(f"the run has no copy of its kernel; it goes on with {name} as it is now")
    return _of(config, name), notes


def _of(config: Config, kernel: str) -> Config:
    return config.model_copy(update={"collisions": config.collisions.model_copy(update={"kernel": kernel})})
