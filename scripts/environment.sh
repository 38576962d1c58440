# Sourced by the other scripts: makes a virtual environment unless one is active, and installs the package into it.
# Usage: . scripts/environment.sh EXTRAS   (for example "" or "[test]")
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -z "${VIRTUAL_ENV:-}" ]; then
  python="${PYTHON:-python3}"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed; set PYTHON to one" >&2
    exit 1
  }
  [ -d .venv ] || "$python" -m venv .venv
  . .venv/bin/activate
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1
python -m pip install --quiet -c scripts/constraints.txt -e ".$1"
