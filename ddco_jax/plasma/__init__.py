"""What evolves, and its units: grid, state, moments, fields, starts, the one-component plasma."""
