"""The devices over which a run divides its cells."""

import contextlib
import os

import jax

from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.settings import ConfigError

IN_ORDER = "--xla_cpu_enable_concurrency_optimized_scheduler=false"
"""On CPUs XLA may else start exchanges between devices in another order on each, and wait forever (jax 0.10.1)."""


def prepare(count: int) -> None:
    """Before JAX first uses a device: let the CPU count as that many devices, with exchanges in order."""
    if count < 2 or "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    in_order()
    with contextlib.suppress(RuntimeError):  # JAX has begun: `divided` says if there are too few devices
        jax.config.update("jax_num_cpu_devices", count)


def in_order() -> None:
    """Before JAX first uses a device: let CPUs start exchanges in order."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_enable_concurrency_optimized_scheduler" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {IN_ORDER}".strip()


def divided(grid: PhaseGrid, count: int) -> PhaseGrid:
    """The grid with its cells divided over the first `count` devices.

    Raises ConfigError where there are fewer devices or fewer cells.
    """
    if count == 1:
        return grid
    present = jax.devices()
    if not 1 <= count <= len(present):
        raise ConfigError(f"--devices {count}: JAX finds {len(present)} ({present[0].platform}); take 1 ... that many")
    require_cells(grid, count)
    return grid.over(present[:count])


def require_cells(grid: PhaseGrid, count: int) -> None:
    """Raise ConfigError where there are fewer cells along x than devices."""
    if count > grid.nx:
        raise ConfigError(
            f"{count} devices: the grid has {grid.nx} cells along x, and the other devices would be idle; take at most "
            f"{grid.nx} devices"
        )
