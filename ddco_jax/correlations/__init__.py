"""What a young plasma remembers: how correlations build up after a quench, one file per physical ingredient."""

from ddco_jax.correlations.model import (
    AGED,
    MARKOV,
    Aged,
    Correlations,
    Markov,
    Quench,
    Record,
    StretchedExponential,
    StretchedRise,
    Uniform,
    as_record,
)

__all__ = [
    "AGED",
    "MARKOV",
    "Aged",
    "Correlations",
    "Markov",
    "Quench",
    "Record",
    "StretchedExponential",
    "StretchedRise",
    "Uniform",
    "as_record",
]
