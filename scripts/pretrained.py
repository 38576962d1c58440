"""Trains the kernels that ship with the package, on the data in the repository.

    python scripts/pretrained.py [NAME ...] [--scratch DIR]

Trainings and pair averages are kept under --scratch and resumed after a kill; the kernels go to ddco_jax/pretrained.
The default kernel is trained from three seeds, whose spread is its uncertainty.
"""

import argparse
import json
import shutil
import time
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from ddco_jax.kernels import store  # noqa: E402
from ddco_jax.learning.config import load  # noqa: E402
from ddco_jax.learning.recompress import GAMMAS, thermal_eigenvalues  # noqa: E402
from ddco_jax.learning.train import LOSS_FILE, train  # noqa: E402
from ddco_jax.plasma.files import read_json, sealed, write_text  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SEEDS = {"ddco": (1, 2, 3), "ddco-paper": (1,), "dd-landau": (1,), "ddco-convex": (1,)}


def make(name: str, scratch: Path) -> None:
    """Train one kernel from all its seeds and store it in the package."""
    target = ROOT / "ddco_jax" / "pretrained" / name
    folders, seconds = [], []
    for seed in SEEDS[name]:
        folder = scratch / f"{name}_{seed}"
        fresh, start = not folder.exists(), time.perf_counter()
        train(load(name, [f"seed={seed}"]), folder, cache=scratch / "pair_averages", progress=True)
        seconds.append(round(time.perf_counter() - start) if fresh else None)  # a resumed training has no total time
        folders.append(folder)
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.npz"):
        old.unlink()
    for seed, folder in zip(SEEDS[name], folders, strict=True):
        member = store.PARAMETERS if seed == SEEDS[name][0] else store.MEMBERS.replace("*", str(seed))
        shutil.copyfile(folder / store.PARAMETERS, target / member)
    text = read_json(folders[0] / store.SPECIFICATION)
    text["metadata"] |= {
        "seeds": list(SEEDS[name]),
        "training_chi_squared_by_seed": [store.metadata(f)["training_chi_squared"] for f in folders],
        "final_loss_by_seed": [last_loss(f) for f in folders],
        "training_seconds_by_seed": seconds,
    }
    data = text["metadata"]["config"]["data"]
    for key in ("files", "equilibrium"):  # relative to the repository
        data[key] = [f.removeprefix(f"{ROOT}/") for f in data[key] or ()]
    write_text(target / store.SPECIFICATION, json.dumps(sealed(text), indent=1) + "\n")
    if len(folders) > 1:
        text["metadata"]["spread_by_gamma"] = spread(name)
        write_text(target / store.SPECIFICATION, json.dumps(sealed(text), indent=1) + "\n")
    print(name, text["metadata"]["training_chi_squared_by_seed"], text["metadata"].get("spread_by_gamma", ""))


def last_loss(folder: Path) -> float | None:
    """The last loss of a training; None where the folder stores none."""
    file = folder / LOSS_FILE
    return json.loads(file.read_text())[-1] if file.exists() else None


def spread(name: str) -> dict[str, float]:
    """Relative rms scatter of omega between seeds by Gamma, over Maxwellian pairs."""
    values = jnp.stack([thermal_eigenvalues(member.kernel) for member in store.load_ensemble(name)])
    scatter = jnp.sqrt(jnp.mean(jnp.var(values, axis=0, ddof=1), (1, 2)) / jnp.mean(values.mean(0) ** 2, (1, 2)))
    return {f"{g:.3g}": round(float(s), 4) for g, s in zip(GAMMAS, np.asarray(scatter), strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(SEEDS))
    parser.add_argument("--scratch", type=Path, default=Path("training_scratch"))
    arguments = parser.parse_args()
    for name in arguments.names:
        make(name, arguments.scratch)


if __name__ == "__main__":
    main()
