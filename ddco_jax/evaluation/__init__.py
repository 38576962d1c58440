"""Evaluation of runs and kernels: comparison with MD, reports."""
