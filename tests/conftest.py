"""Double precision, strict dtype promotion and one cache of compiled programs for every test; a seeded generator."""

import gc
import os
import tempfile
from pathlib import Path

# most tests take longer to compile than to run: this compiles five times as fast, to programs of half the speed
# (jax 0.10.1), the last flag by a tenth; scripts/test.sh runs those marked `optimised` apart, without it
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)

import jax
import numpy as np
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # workers and the commands that tests start inherit the environment, and share what any of them has compiled
    FOLDER = tempfile.TemporaryDirectory(prefix="ddco-jax-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = FOLDER.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # jaxlib 0.10.1 logs an error for each program that it finds there
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)

gc.set_threshold(200_000, 20, 100)  # traces make many objects that live on: collecting them took 7 % of the time


@pytest.fixture(autouse=True)
def few_programs():
    """Every compiled program takes memory maps of the process; Linux allows 65530, beyond which XLA crashes."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_text().count("\n") > 30_000:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def rng():
    return np.random.default_rng(20260327)
