"""The configuration of a training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from ddco_jax import settings
from ddco_jax.kernels.forms import KernelForm, SeparableForm, form_of
from ddco_jax.settings import ConfigError, Section


class DataSection(Section):
    """Homogeneous MD runs."""

    files: tuple[str, ...] = Field(min_length=1)
    """Paths with wildcards, relative to the config or to the working directory."""
    equilibrium: tuple[str, ...] = ()
    """Equilibrium runs to whose Green-Kubo coefficients the kernel is fitted as well."""
    weak_coupling: tuple[PositiveFloat, ...] = ()
    """Coupling parameters at which the kernel is fitted to Landau's coefficients, D* with the logarithm Xi11 and eta*
    with Xi22/2, and to Landau's relaxation rates of bi-Maxwellians with Tx/Tperp = 1/4 and 4."""
    gamma: tuple[PositiveFloat, PositiveFloat] | None = None
    """Lowest and highest coupling parameter of the files to use; all files by default."""
    rounds: PositiveInt = 4
    """Random pairings of the stored particles per snapshot and half: they sample the pairs of Eq. (17)."""


class TrainingSection(Section):
    """Adam on the full batch; the learning rate falls as a cosine."""

    steps: PositiveInt = 2000
    learning_rate: PositiveFloat = 0.01
    error_floor: NonNegativeFloat = 0.02
    """Share of each test function's largest rate that is added to its statistical error, in quadrature."""
    checkpoint_every: PositiveInt = 250
    drift_weight: NonNegativeFloat = 0.0
    """Weight of the accumulated residuals (`losses.drift_squared`) relative to the chi^2 of the rates."""
    decay_weight: NonNegativeFloat = 0.0
    """Weight of the mean square relative error of the anisotropy, over its statistical error and 1 % in quadrature."""
    jump_weight: NonNegativeFloat = 0.0
    """Weight of the misfit of the jumps of single particles, which show the tail of the microfield (`jumps`)."""
    roughness_weight: NonNegativeFloat = 100.0
    """Weight of the relative mean square difference between the kernel and its spline (`nodes.roughness`)."""
    weight_decay: NonNegativeFloat = 0.0
    """Relative decay of the networks' matrices per step and learning rate; it keeps the radial functions smooth."""
    coefficient_weight: NonNegativeFloat = 0.05
    """Weight of the mean square misfit of D* and eta* relative to the logarithm of the mean misfit of the runs."""
    coefficient_floor: NonNegativeFloat = 0.02
    """Relative error that is added to those of D* and eta*, in quadrature."""


class TrainConfig(Section):
    """All settings of a training."""

    description: str = ""
    seed: NonNegativeInt = 0
    data: DataSection
    kernel: KernelForm = SeparableForm()
    """The form of the kernel and the size of its networks; the key `form` selects the form."""
    training: TrainingSection = TrainingSection()

    @field_validator("kernel", mode="before")
    @classmethod
    def _form(cls, value: Any) -> Any:
        return form_of({"form": SeparableForm.form} | value) if isinstance(value, dict) else value

    def paths(self) -> list[Path]:
        """Files of the quenches.  Raises ConfigError where a pattern matches no file."""
        return _matches("data.files", self.data.files)

    def equilibrium_paths(self) -> list[Path]:
        """Files of the equilibrium runs.  Raises ConfigError where a pattern matches no file."""
        return _matches("data.equilibrium", self.data.equilibrium)


def _matches(key: str, patterns: tuple[str, ...]) -> list[Path]:
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern)
        matches = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor) if path.anchor else path)))
        if not matches:
            raise ConfigError(
                f"{key}: nothing matches {pattern}; the data of the shipped trainings are in data/md of the "
                f"repository, so train in its clone, or set {key} to files of `ddco md`"
            )
        found += [m for m in matches if m not in found]
    return found


def shipped_configs() -> dict[str, Path]:
    """The training configs that come with the package, by name."""
    return settings.shipped("train")


def load(source: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a training config, or a shipped one by name.  Raises ConfigError with a message of one line."""
    data, path = settings.read(source, shipped_configs(), overrides)
    section: Any = data.get("data")
    for key in ("files", "equilibrium"):
        if isinstance(section, dict) and isinstance(section.get(key), list):
            section[key] = tuple(_absolute(f, path.parent) for f in section[key])
    return settings.parse(TrainConfig, settings.tuples(data), source)


def _absolute(pattern: Any, folder: Path) -> Any:
    if not isinstance(pattern, str) or Path(pattern).is_absolute():
        return pattern
    return str((folder if any(folder.glob(pattern)) else Path()).resolve() / pattern)
