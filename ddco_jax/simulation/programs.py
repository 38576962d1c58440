"""Compiled programs on disk, so that a repeated or resumed run of the command line need not be compiled again."""

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

import jax

VARIABLE = "DDCO_PROGRAMS"
"""Environment variable: a folder in place of the one in the user's cache, or "off"."""
LARGEST = 2**30
"""Size of the folder beyond which the programs that were used least recently are removed, bytes."""
SHORTEST = 1.0
"""Programs that compile faster are not kept, s."""


def keep() -> None:
    """Let JAX keep compiled programs, in a folder that only the user can read, one for each processor and jaxlib.

    Does nothing where the user has set JAX's own JAX_COMPILATION_CACHE_DIR, where VARIABLE is "off", or where the
    folder cannot be used; programs are then compiled in every process.
    """
    wanted = os.environ.get(VARIABLE, "")
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or wanted == "off":
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = (Path(wanted) if wanted else cache / "ddco_jax") / f"jaxlib-{version('jaxlib')}-{_processor()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        if not os.access(folder, os.W_OK) or folder.stat().st_uid != os.getuid():
            return
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", LARGEST)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST)


def _processor() -> str:
    """A hash of the processor's features: a program is of use on the same kind of processor only."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else [platform.processor()]
    features = sorted({line for line in lines if line.startswith(("flags", "Features", "model name", "CPU part"))})
    return hashlib.sha256("\n".join([platform.machine(), *features]).encode()).hexdigest()[:12]
