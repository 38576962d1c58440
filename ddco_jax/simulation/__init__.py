"""The host program: settings of a run, its checks, the loop, checkpoints and results."""
