"""Figures of runs, MD and kernels."""
