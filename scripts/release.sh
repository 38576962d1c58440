#!/usr/bin/env bash
# Builds, tries and tags a release: scripts/release.sh DIR puts the sdist and the wheel into DIR.
# The version is the one in ddco_jax/plasma/clone.py; the tag is v and the version.
set -euo pipefail
out="$(realpath -m "${1:?usage: scripts/release.sh DIR}")"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
refuse() {
  echo "release: $1" >&2
  exit 2
}
version="$(sed -n 's/^VERSION = "\(.*\)"$/\1/p' ddco_jax/plasma/clone.py)"
[ -z "$(git status --porcelain)" ] || refuse "the clone has changes; commit them first"
case "$version" in *dev*) refuse "$version is not a release; set VERSION in ddco_jax/plasma/clone.py" ;; esac
grep -q "^## $version" CHANGELOG.md || refuse "CHANGELOG.md has no section ## $version"
[ -z "$(git tag --list "v$version")" ] || refuse "the tag v$version exists"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/build"
"$scratch/build/bin/pip" install --quiet build
"$scratch/build/bin/python" -m build --outdir "$scratch/dist" . # the wheel is built from the sdist
python3 -m venv "$scratch/env"
"$scratch/env/bin/pip" install --quiet "$scratch/dist"/*.whl
cd "$scratch"
[ "$(env/bin/ddco --version)" = "$version" ] || refuse "the wheel states another version"
env/bin/ddco kernels
env/bin/ddco run relaxation --out run --set grid.nv=[16,16,16] --set time.steps=4
cd - >/dev/null
mkdir -p "$out"
cp "$scratch/dist"/* "$out"
git tag --annotate "v$version" --message "Version $version"
echo "$out holds the release; publish the tag with: git push origin v$version"
