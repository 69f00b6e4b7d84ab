#!/usr/bin/env bash
# Every static check; all of them run even if one fails, so that one run tells everything.
set -uo pipefail
cd "$(dirname "$0")/.."
BIN=.venv/bin
failed=()

check() {
  local title=$1 output seconds=$SECONDS
  shift
  if output=$("$@" 2>&1); then
    printf '  ✓ %-18s %2d s\n' "$title" $((SECONDS - seconds))
  else
    printf '  ✗ %s\n%s\n' "$title" "$output"
    failed+=("$title")
  fi
}

# The settings want an environment; tests/environment.py is the one that touches nothing real.
makemigrations_check() {
  "$BIN/python" -c '
import sys
import tests.environment
sys.argv = ["manage.py", "makemigrations", "--check", "--dry-run"]
import manage
manage.main()'
}

mypy_check() {
  "$BIN/python" -c '
import sys
import tests.environment
from mypy.main import main
main(args=[], stdout=sys.stdout, stderr=sys.stderr, clean_exit=True)'
}

check "ruff" "$BIN/ruff" check --quiet .
check "format" "$BIN/ruff" format --check --quiet .
check "types" mypy_check
check "imports" env PYTHONPATH=.:platform "$BIN/lint-imports" --no-cache
check "templates" "$BIN/djlint" --lint --quiet templates
check "spelling" "$BIN/codespell"
check "migrations" makemigrations_check

if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[*]}" >&2
  exit 1
fi
