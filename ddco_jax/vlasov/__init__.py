"""Transport in phase space: fluxes of f along x and vx, laws of the electric field, age and memory of correlations."""
