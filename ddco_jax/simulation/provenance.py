"""What made a result: versions, commit, kernel, device and date, as attributes of the store."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from ddco_jax.kernels import store
from ddco_jax.plasma.clone import VERSION, commit
from ddco_jax.simulation.config import Config
from ddco_jax.simulation.results import scale_attributes


def attributes(config: Config, name: str, kernel_sha256: str) -> dict[str, Any]:
    """The attributes of a result: config, scales, and what makes it; equal runs differ only in the date `begun`."""
    device = jax.devices()[0]
    return {
        "name": name,
        "config": config.model_dump_json(),
        "kernel": config.collisions.kernel,
        "kernel_sha256": kernel_sha256,
        "version": VERSION,
        **({"commit": found} if (found := commit()) else {}),
        "jax": jax.__version__,
        "device": f"{device.platform}: {device.device_kind}",
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        **scale_attributes(config.scales),
    }


def kernel_hash(config: Config) -> str:
    """SHA-256 of `kernel.json` and `parameters.npz` of a learned kernel, of name and prefactor of an analytic one."""
    chosen = config.collisions
    folder = store.pretrained().get(chosen.kernel, Path(chosen.kernel))
    if chosen.kernel in store.NAMED or not (folder / store.SPECIFICATION).is_file():
        content = json.dumps([chosen.kernel, chosen.prefactor]).encode()
    else:
        content = b"".join((folder / file).read_bytes() for file in (store.SPECIFICATION, store.PARAMETERS))
    return hashlib.sha256(content).hexdigest()
