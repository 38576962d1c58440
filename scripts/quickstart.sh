#!/usr/bin/env bash
# Installs the package, runs the bi-Maxwellian case in 1D-3V and draws its figures; then the same relaxation in one
# homogeneous cell, by the learned kernel and by Landau's, beside molecular dynamics that neither has seen.
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" ""
out="${1:-runs/quickstart}"
md=data/md/held_out/gamma_1_bimaxwellian_0.25.nc
go() { # FOLDER CONFIG OPTIONS...: a run, or the rest of one that was interrupted
  local folder="$1"
  shift
  if [ -f "$folder/config.json" ]; then ddco resume "$folder"; else ddco run "$@" --out "$folder"; fi
}
ddco check bimaxwellian
go "$out" bimaxwellian
ddco plot "$out"
go "$out-ddco" relaxation
go "$out-landau" relaxation --set collisions.kernel=landau --set collisions.buildup=off
for kernel in ddco landau; do
  echo "errors of $kernel against molecular dynamics, Gamma = 1:"
  ddco compare "$out-$kernel" "$md"
done
ddco plot "$out-ddco" --md "$md" --with "$out-landau"
