#!/usr/bin/env bash
# Installs the package with its test and md extras; lints, checks types, runs the tests that are not slow.
# With --all it runs the slow ones too.  Other arguments go to pytest.
tests="and not slow"
if [ "${1:-}" = --all ]; then
  tests=""
  shift
fi
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" "[test,md]"
ruff check .
ruff format --check .
mypy
# compilation is serial: two workers use two cores
run() { # MARKS OPTIONS...: 5 is pytest's status where it finds no test
  local marks="$1" status=0
  shift
  python -m pytest -n "${PYTEST_WORKERS:-2}" --dist worksteal -m "$marks" "$@" || status=$?
  [ "$status" = 5 ] || failed=$((failed || status))
}
failed=0
run "not optimised $tests" "$@"
XLA_FLAGS="${XLA_FLAGS:-}" run "optimised $tests" "$@"
exit "$failed"
