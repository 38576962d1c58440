"""`python -m ddco_jax.cli` is `ddco`."""

from ddco_jax.cli import main

main()
