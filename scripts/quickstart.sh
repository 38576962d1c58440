#!/usr/bin/env bash
# Installs the package, runs the bi-Maxwellian case in 1D-3V and draws its figures.
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" ""
out="${1:-runs/quickstart}"
if [ -f "$out/config.json" ]; then
  ddco resume "$out"
else
  ddco check bimaxwellian
  ddco run bimaxwellian --out "$out"
fi
ddco plot "$out"
