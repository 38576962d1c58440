#!/usr/bin/env bash
# Makes the paper's figures and results: scripts/reproduce_paper.sh [fig1 ... fig7 figC8 results] [--paper-size] [--out DIR]
# What is complete is not done again; after a kill the same command goes on.  --help lists all options.
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" ""
exec python scripts/reproduce_paper.py "$@"
