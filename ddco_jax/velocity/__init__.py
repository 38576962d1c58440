"""Numerics of velocity space: one cell with its moments, differences, forces, transforms, positivity."""
