#!/usr/bin/env bash
# Draws the figure of the README, docs/figures/relaxation.png: a bi-Maxwellian plasma relaxes by the learned kernel, by
# Landau's, and in molecular dynamics that neither has seen.
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" ""
md=data/md/held_out/gamma_1_bimaxwellian_0.25.nc
out=$(mktemp -d)
ddco run relaxation --out "$out/ddco"
ddco run relaxation --out "$out/landau" --set collisions.kernel=landau --set collisions.buildup=off
ddco plot "$out/ddco" --md "$md" --with "$out/landau"
cp "$out/ddco/figures/md_gamma_1_bimaxwellian_0.25.png" docs/figures/relaxation.png
