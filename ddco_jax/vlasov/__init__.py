"""How f is transported in phase space: x and velocity fluxes, the electric field, the correlation age."""
