"""Plasma state and units: grid, state, moments, fields, initial distributions, the one-component plasma."""
