#!/usr/bin/env bash
# Installs the package with its test and md extras; lints, checks types, tests.  Arguments go to pytest.
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh" "[test,md]"
ruff check .
ruff format --check .
mypy
# compilation is serial: two workers use two cores
python -m pytest -n "${PYTEST_WORKERS:-2}" --dist worksteal "$@"
