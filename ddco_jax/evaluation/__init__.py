"""How runs and kernels are judged: comparison with MD, reports."""
