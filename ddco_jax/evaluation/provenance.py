"""Where and with what a measurement was made, for the files in benchmarks/results."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import jax

from ddco_jax.plasma import clone

KEYS = ("date", "machine", "device", "commit", "versions")


def provenance(*packages: str, commit: str = "") -> dict[str, Any]:
    """Date, machine, device, commit and library versions of this process, by KEYS, as JSON stores them.

    `packages` are the libraries on which the measurement depends, besides jax and numpy.  `commit` is for machines that
    hold the code without its git repository; by default git states it, with "-dirty" where the code differs from it.
    Raises PackageNotFoundError for a package that is not installed, ValueError where the commit is unknown.
    """
    commit = commit or clone.commit()
    if not commit:
        raise ValueError("no git repository states the commit of this code; give it with --commit")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.machine()}, {cores} cores",
        "device": jax.devices()[0].device_kind,
        "commit": commit,
        "versions": {name: version(name) for name in ("jax", "numpy", *packages)},
    }
