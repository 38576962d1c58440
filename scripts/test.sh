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
# compilation is serial: two workers use two cores, and threads of matrix products would wait for each other
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}"
run() { # MARKS OPTIONS...: 5 is pytest's status where it finds no test
  local marks="$1" status=0
  shift
  python -m pytest -n "${PYTEST_WORKERS:-2}" --dist worksteal -m "$marks" "$@" || status=$?
  [ "$status" = 5 ] || failed=$((failed || status))
}
failed=0
run "not optimised $tests" "$@"
# long runs: optimised as far as it pays; nine of them took 130 s of processor time, 183 s as by default (jax 0.10.1)
optimised="--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false"
XLA_FLAGS="${XLA_FLAGS:-$optimised --xla_cpu_parallel_codegen_split_count=1}" run "optimised $tests" "$@"
exit "$failed"
