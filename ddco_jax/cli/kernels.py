"""Commands about kernels."""

import json
import sys
from pathlib import Path
from typing import Annotated

from ddco_jax.cli.options import BreakLock, ConfigName, Json, Overrides, app, enable_x64, option, unlock


@app.command
def train(
    config: ConfigName,
    *,
    out: Annotated[Path, option("folder of the kernel; the training in it is continued")],
    set_: Overrides = None,
    cache: Annotated[Path | None, option("folder for pair averages, to share between trainings")] = None,
    break_lock: BreakLock = False,
) -> None:
    """Train a kernel on MD; after a kill, the same command continues, with bitwise the same result."""
    from ddco_jax.evaluation.tables import listing
    from ddco_jax.kernels.store import metadata
    from ddco_jax.learning.config import load
    from ddco_jax.learning.train import train as fit

    enable_x64()
    unlock(out, break_lock)
    fit(load(config, set_ or []), out, cache=cache)
    about = metadata(out)
    chi_squared = f"{about['training_chi_squared']:.2f}"
    print(listing({"kernel": str(out), "runs": str(len(about["runs"])), "chi^2 per datum": chi_squared}))


@app.command(name="transport")
def transport_coefficients(
    *,
    kernel: Annotated[list[str] | None, option("name or folder, may be repeated; all by default")] = None,
    gamma: Annotated[list[float] | None, option("coupling parameter, may be repeated")] = None,
    order: Annotated[int, option("Sonine polynomials")] = 4,
    density_m3: Annotated[float | None, option("add physical units, at this density")] = None,
    md: Annotated[list[Path] | None, option("equilibrium runs to compare with", consume_multiple=True)] = None,
    figure: Annotated[Path | None, option("draw D and eta against T at 1e21 and 1e24 m^-3 into this file")] = None,
    json_: Json = False,
) -> None:
    """D*, eta*, kappa* of kernels by Chapman-Enskog expansion, Eq. (34), beside Green-Kubo values of MD."""
    from ddco_jax.evaluation.report import measured_coefficients, transport_report, transport_report_table
    from ddco_jax.simulation.config import ConfigError

    enable_x64()
    measured = measured_coefficients(md or [])
    try:
        rows = transport_report(kernel, gamma, order, density_m3, measured)
    except ValueError as error:
        raise ConfigError(f"--kernel: {error}") from None
    print(json.dumps(rows, indent=1) if json_ else transport_report_table(rows))
    if figure is not None:
        from ddco_jax.plots.coefficients import KERNELS, plot_coefficients

        figure.parent.mkdir(parents=True, exist_ok=True)
        print(plot_coefficients(figure, kernel or KERNELS, measured=measured), file=sys.stderr)


@app.command
def recompress(
    kernel: Annotated[str, option("name of a kernel (`ddco kernels`), or folder of a training")],
    *,
    out: Annotated[Path, option("new folder of the kernel")],
    products: Annotated[int, option("positive separable terms of the new kernel")] = 3,
    seed: Annotated[int, option("of the random parameters at which the fit starts")] = 0,
) -> None:
    """Refit a learned kernel with few separable products; prints the error and the speed-up."""
    from ddco_jax.evaluation.report import recompression_table
    from ddco_jax.learning.recompress import recompress_learned

    enable_x64()
    print(recompression_table(recompress_learned(kernel, out, products, seed)))


@app.command(name="kernels")
def list_kernels(*, json_: Json = False) -> None:
    """List the kernels that come with the package: the Gamma they were trained on, their errors on held-out MD."""
    from ddco_jax.evaluation.listings import kernels, kernels_table

    print(json.dumps(kernels(), indent=1) if json_ else kernels_table(kernels()))
