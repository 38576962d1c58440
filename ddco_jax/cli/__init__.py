"""The `ddco` command.  A user error prints one line and exits with status 2, a failed run with status 3."""

import os
import sys

from cyclopts import CycloptsError

from ddco_jax.cli import kernels, md, runs  # noqa: F401  these define the commands
from ddco_jax.cli.options import app


def main() -> None:
    """Entry point of the console command."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        app(exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _end(" ".join(str(error).split()), 2)
    except KeyboardInterrupt:
        _end("stopped by SIGINT; repeat the command (train and md go on where they were)", 130)
    except Exception as error:  # classified below, so that a usage error does not wait for JAX to load
        from ddco_jax.settings import RunFailed
        from ddco_jax.simulation.config import ConfigError
        from ddco_jax.simulation.interrupts import Stopped

        if isinstance(error, ConfigError):
            _end(str(error), 2)
        if isinstance(error, Stopped):
            _end(str(error), error.status)
        if isinstance(error, RunFailed):
            _end(f"{error}; the last good checkpoint is kept", 3)
        if message := _no_device():
            _end(message, 2)
        raise


def _no_device() -> str | None:
    """What is wrong if JAX has no device, else None."""
    import jax

    try:
        jax.devices()
    except Exception:
        wanted = f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}"
        return f"JAX finds no device with {wanted}; unset it, or install JAX for the device (docs/gpus.md)"
    return None


def _end(message: str, status: int) -> None:
    print(f"ddco: {message}", file=sys.stderr)
    sys.exit(status)
