"""Where and with what a measurement was made, for the files in benchmarks/results."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

KEYS = ("date", "machine", "device", "commit", "versions")


def provenance(*packages: str, commit: str = "") -> dict[str, Any]:
    """Date, machine, device, commit and library versions of this process, by KEYS, as JSON stores them.

    `packages` are the libraries on which the measurement depends, besides jax and numpy.  `commit` is for machines that
    hold the code without its git repository; by default git states it, with "-dirty" where the code differs from it.
    Raises PackageNotFoundError for a package that is not installed, ValueError where the commit is unknown.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.machine()}, {cores} cores",
        "device": jax.devices()[0].device_kind,
        "commit": commit or _commit(),
        "versions": {name: version(name) for name in ("jax", "numpy", *packages)},
    }


def _commit() -> str:
    """The commit of the repository that holds this file."""
    root = Path(__file__).parents[2]

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # a result that was just written does not change the code
        changed = git("status", "--porcelain", "--", ".", ":(exclude)benchmarks/results")
        return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        raise ValueError("no git repository states the commit of this code; give it with --commit") from None
