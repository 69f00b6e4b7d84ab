#!/usr/bin/env bash
# All checks and all tests but the soak ones. Goes on after a failure; ends with 0 only if all was well.
set -uo pipefail
cd "$(dirname "$0")/.."
result=0

# A process per processor; of a file's tests none are torn apart. Each has an instance, a database and directories
# of its own.
SIDE_BY_SIDE=(-n "$(nproc)" --dist loadfile)
# One more where tests wait for a database.
WITH_DATABASE=(-n "$(($(nproc) + 1))" --dist loadfile)

# Each run is given its directory: a process that reads all tests to throw most away takes 12 s for it.
# Exit code 5 of pytest means that nothing was selected.
run() {
  printf '\n== %s\n' "$1"
  shift
  "$@"
  local code=$?
  [ $code = 0 ] || [ $code = 5 ] || result=1
}

run "static checks" scripts/check.sh
run "unit tests" .venv/bin/python -m pytest -q "${WITH_DATABASE[@]}" -m "not soak" \
  tests --ignore tests/system --ignore tests/e2e
if compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
  run "the platform's tests on PostgreSQL" .venv/bin/python scripts/with_postgres.py \
    .venv/bin/python -m pytest -q "${WITH_DATABASE[@]}" tests/slipway --ignore tests/slipway/cli -m "not soak"
fi
if [ "$(id -u)" = 0 ]; then
  run "system tests" .venv/bin/python -m pytest -q "${SIDE_BY_SIDE[@]}" -m "not soak" tests/system
  run "end-to-end tests" .venv/bin/python -m pytest -q "${SIDE_BY_SIDE[@]}" -m "not soak" tests/e2e
else
  printf '\n%s\n' "The system and end-to-end tests were left out: they mount file systems, make network" \
    "namespaces and start containers, which needs root. Run them with: sudo make test"
fi
exit $result
