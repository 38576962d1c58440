"""The configuration of a training."""

from importlib import resources
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
    """Equilibrium runs whose Green-Kubo coefficients the kernel has to have as well."""
    weak_coupling: tuple[PositiveFloat, ...] = ()
    """Coupling parameters at which the kernel has to have Landau's coefficients, D* with Xi11 and eta* with Xi22/2, and
    Landau's rates for bi-Maxwellians, 1/4 and 4."""
    gamma: tuple[PositiveFloat, PositiveFloat] | None = None
    """Only files with a coupling parameter in this range."""
    rounds: PositiveInt = 4
    """Pairings of the stored particles per snapshot and half: the pairs sampled in (17)."""


class TrainingSection(Section):
    """Adam on the whole data, learning rate falling as a cosine."""

    steps: PositiveInt = 2000
    learning_rate: PositiveFloat = 0.01
    error_floor: NonNegativeFloat = 0.02
    """Share of each test function's largest rate that is added to its statistical error, in quadrature."""
    checkpoint_every: PositiveInt = 250
    drift_weight: NonNegativeFloat = 0.0
    """Weight of the accumulated residuals beside the chi^2 of the rates."""
    decay_weight: NonNegativeFloat = 0.0
    """Weight of the squared relative errors of the decay of anisotropy, over their own and 1 %."""
    jump_weight: NonNegativeFloat = 0.0
    """Weight of the misfit of the jumps of single particles, which show the tail of the microfield (`jumps`)."""
    roughness_weight: NonNegativeFloat = 100.0
    """Weight of the relative mean square of what the kernel has between the nodes of the pair averages."""
    weight_decay: NonNegativeFloat = 0.0
    """Of the networks' matrices, per step and learning rate: radial functions turn no more sharply than needed."""
    coefficient_weight: NonNegativeFloat = 0.05
    """Weight of the mean squared misfit of D* and eta* beside the logarithm of the mean chi^2 of the rates."""
    coefficient_floor: NonNegativeFloat = 0.02
    """Relative error that is added to theirs, in quadrature."""


class TrainConfig(Section):
    """A whole training."""

    description: str = ""
    seed: NonNegativeInt = 0
    data: DataSection
    kernel: KernelForm = SeparableForm()
    """The form of the kernel with the size of its networks, told apart by `form`."""
    training: TrainingSection = TrainingSection()

    @field_validator("kernel", mode="before")
    @classmethod
    def _form(cls, value):
        return form_of({"form": SeparableForm.form} | value) if isinstance(value, dict) else value

    def paths(self) -> list[Path]:
        """The quenches.  Raises ConfigError where a pattern matches none."""
        return _matches("data.files", self.data.files)

    def equilibrium_paths(self) -> list[Path]:
        """The equilibrium runs.  Raises ConfigError where a pattern matches none."""
        return _matches("data.equilibrium", self.data.equilibrium)


def _matches(key: str, patterns: tuple[str, ...]) -> list[Path]:
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern)
        matches = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor) if path.anchor else path)))
        if not matches:
            raise ConfigError(f"{key}: nothing matches {pattern}")
        found += [m for m in matches if m not in found]
    return found


def shipped_configs() -> dict[str, Path]:
    """The training configs that come with the package, by name."""
    folder = resources.files("ddco_jax") / "configs" / "train"
    return {Path(str(p)).stem: Path(str(p)) for p in sorted(folder.iterdir(), key=str) if str(p).endswith(".toml")}


def load(source: str, overrides=()) -> TrainConfig:
    """Read a training config, or a shipped one by name.  Raises ConfigError with one line."""
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
