"""The `ddco` command.  A user error prints one line and exits with status 2, a failed run with status 3."""

import logging
import os
import sys
import traceback
import warnings

from cyclopts import CycloptsError

from ddco_jax.cli import kernels, md, runs  # noqa: F401  these define the commands
from ddco_jax.cli.options import DEBUG, app


def main() -> None:
    """Entry point of the console command."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # zarr's tasks, after an error that is reported anyway
    warnings.filterwarnings("ignore", message="Object at .* is not recognized as a component of a Zarr hierarchy")
    words = [word for word in sys.argv[1:] if word != DEBUG]
    if DEBUG not in sys.argv[1:] and sys.unraisablehook is sys.__unraisablehook__:
        # after a full disk TensorStore's threads find the event loop closed; the error itself is reported below
        sys.unraisablehook = lambda _: None
    try:
        app(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _end(" ".join(str(error).split()), 2)
    except KeyboardInterrupt:
        _end("stopped by SIGINT; repeat the command (train and md go on where they were)", 130)
    except Exception as error:  # explained below, so that a usage error does not wait for JAX to load
        from ddco_jax.simulation.failures import explained

        if DEBUG in sys.argv[1:]:
            traceback.print_exc()
        _end(*explained(error))


def _end(message: str, status: int) -> None:
    joined = sys.modules.get("ddco_jax.simulation.processes")  # not loaded for a usage error
    if joined is not None and joined.several():
        joined.end(message, status)
    try:
        print(f"ddco: {message}", file=sys.stderr, flush=True)
    except OSError:  # stderr is a file on a full disk
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  what is left in the buffer would fail again at the end
    sys.exit(status)
