#!/usr/bin/env bash
# Installs the package with its test and md extras; lints, checks types, runs the tests that are not slow.
# With --all it runs the slow ones too.  Other arguments go to pytest.
tests="not slow"
if [ "${1:-}" = --all ]; then
  tests=""
  shift
fi
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" "[test,md]"
ruff check .
ruff format --check .
mypy
# compilation is serial: two workers use two cores
python -m pytest -n "${PYTEST_WORKERS:-2}" --dist worksteal -m "$tests" "$@"
