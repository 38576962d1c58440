"""Young plasmas at one age, put together by hand."""

import jax.numpy as jnp

from ddco_jax.correlations import Correlations
from ddco_jax.correlations.buildup import PairRate
from ddco_jax.correlations.hole import Partners


def young(shape, level=1.0, deficit=0.0, width=1.0, rate=0.0, field_jump=0.0, path=0.0, edge=2.0, pair_jump=0.0):
    """A record whose fields are broadcast to a shape; without arguments, of pairs that have built up, and no more."""
    level, deficit, width, rate, field_jump, path, edge, pair_jump, risen, two, one = (
        jnp.broadcast_to(jnp.asarray(x, float), shape)
        for x in (level, deficit, width, rate, field_jump, path, edge, pair_jump, 1e30, 2.0, 1.0)
    )
    pairs = PairRate(level, deficit, width, risen, two, one)
    return Correlations(pairs, rate, field_jump, Partners(path, edge), pair_jump)
