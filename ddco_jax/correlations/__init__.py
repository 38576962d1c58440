"""What a young plasma remembers: how correlations build up after a quench, one file per physical ingredient."""
