#!/usr/bin/env bash
# Write requirements/{run,dev}.txt from pyproject.toml: every package pinned, with the hashes of all its
# files and without the name of the host it came from. uv is used for this alone and kept out of the locks.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
.venv/bin/python -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check uv

compile() {
  "$tools/bin/uv" pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links "$@"
}

compile pyproject.toml --output-file requirements/run.txt
compile pyproject.toml --group dev --output-file requirements/dev.txt
