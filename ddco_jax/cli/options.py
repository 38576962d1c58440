"""The command line application, options that several commands share, and how a config is loaded."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from ddco_jax.plasma.clone import VERSION

if TYPE_CHECKING:  # loads JAX, which takes seconds
    from ddco_jax.simulation.config import Config
    from ddco_jax.simulation.interrupts import Watch

DEBUG = "--debug"
app = App(
    name="ddco",
    version=VERSION,
    help=f"Kinetic simulation of moderately coupled plasmas in 1D-3V.  {DEBUG} shows the traceback of an error.",
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
)


def option(help_: str, name: str | None = None, **more: Any) -> Any:
    """An option with its help; JAX is not needed for it."""
    return Parameter(name=name, help=help_, **more)


ConfigName = Annotated[str, option("config file (TOML), or the name of a shipped one (`ddco configs`)")]
Overrides = Annotated[
    list[str] | None,
    option(
        "section.key=value in place of what the config states, may be repeated; all keys: docs/configuration.md",
        "--set",
    ),
]
Json = Annotated[bool, option("print JSON", "--json")]
Folder = Annotated[Path, option("folder of a run")]
BreakLock = Annotated[bool, option("remove the lock that an ended process has left in the folder")]
Devices = Annotated[int | None, option("devices over which the cells along x are divided", validator=Number(gte=1))]
Distributed = Annotated[
    bool, option("this is one of several processes of the same run, over all devices of which the cells are divided")
]
Grace = Annotated[
    float,
    option(
        "seconds for the step under way after Ctrl-C or SIGTERM, then the last checkpoint stands",
        validator=Number(gte=0),
    ),
]


def several(distributed: bool, devices: int | None, watch: "Watch") -> AbstractContextManager[None]:
    """Join the other processes where the user wants it.  Raises ConfigError."""
    from ddco_jax.settings import ConfigError
    from ddco_jax.simulation import processes

    if distributed and devices:
        raise ConfigError("--distributed takes all devices of all processes; leave out --devices")
    return processes.joined(watch) if distributed else nullcontext()


def load_config(config: str, overrides: list[str] | None) -> "tuple[Config, str]":
    """A config with overrides, and its name; double precision is switched on if it asks for it."""
    from ddco_jax.simulation import config as configs

    settings, name = configs.load(config, overrides or [])
    if settings.precision == "float64":
        enable_x64()
    return settings, name


def unlock(folder: Path, wanted: bool) -> None:
    """Remove the lock of a folder where the user wants it.  Raises FolderInUse where its owner runs on this host."""
    from ddco_jax.plasma.lock import break_lock

    if wanted:
        break_lock(folder)


def enable_x64() -> None:
    """Let JAX use double precision."""
    import jax

    jax.config.update("jax_enable_x64", True)
