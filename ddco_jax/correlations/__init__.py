"""Build-up of correlations after a quench, and memory of later changes of f; one file per physical ingredient."""

from ddco_jax.correlations.memory import NO_MEMORY, NoMemory, Retardation, StressMemory
from ddco_jax.correlations.model import (
    AGED,
    AGED_AGE,
    MARKOV,
    Aged,
    Correlations,
    Markov,
    Mature,
    Quench,
    Record,
    StretchedExponential,
    StretchedRise,
    Undisturbed,
    Uniform,
    as_record,
    retardation,
)

__all__ = [
    "AGED",
    "AGED_AGE",
    "MARKOV",
    "NO_MEMORY",
    "Aged",
    "Correlations",
    "Markov",
    "Mature",
    "NoMemory",
    "Quench",
    "Record",
    "Retardation",
    "StressMemory",
    "StretchedExponential",
    "StretchedRise",
    "Undisturbed",
    "Uniform",
    "as_record",
    "retardation",
]
