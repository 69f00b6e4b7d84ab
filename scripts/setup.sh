#!/usr/bin/env bash
# Make everything Slipway needs: Debian packages, the service user, the virtual environment and the
# front-end packages. Safe to repeat; says nothing and takes no time when all is there.
#
#   scripts/setup.sh          what `make up` needs
#   scripts/setup.sh test     and what `make test` needs besides
#
# SLIPWAY_SETUP_APT=0 never installs a Debian package: missing ones are listed instead.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin"

WANTED=run
[ "${1:-}" = test ] && WANTED=dev
VENV=.venv

say() { printf '  %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# ------------------------------------------------------------------ Debian packages

# Prints the packages whose proof (a program, or a file with a slash in its name) is absent.
missing_packages() {
  local package proof
  while read -r package proof; do
    case "$proof" in
      /*) compgen -G "$proof" >/dev/null || echo "$package" ;;
      *) command -v "$proof" >/dev/null || echo "$package" ;;
    esac
  done
}

node_packages() {
  missing_packages <<'LIST'
ca-certificates /etc/ssl/certs/ca-certificates.crt
crun crun
runc runc
conmon conmon
catatonit catatonit
aardvark-dns /usr/lib/podman/aardvark-dns
nftables nft
iproute2 ip
libseccomp2 /usr/lib/*/libseccomp.so.2
redis-server redis-server
busybox-static /usr/share/doc/busybox-static
mmdebstrap mmdebstrap
nodejs node
npm npm
LIST
  "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

can_make_venv() { [ -x "$VENV/bin/python" ] || "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; }

test_packages() {
  missing_packages <<'LIST'
chromium chromium
postgresql /usr/lib/postgresql/*/bin/initdb
git git
openssh-client ssh-add
make make
docker.io /usr/sbin/dockerd
docker-registry docker-registry
podman podman
skopeo skopeo
buildah buildah
LIST
}

may_install() {
  [ "${SLIPWAY_SETUP_APT:-1}" = 0 ] && fail "not installed: $*"
  [ "$(id -u)" = 0 ] || fail "not installed: $*. Run this as root, or: sudo apt-get install $*"
  command -v apt-get >/dev/null || fail "not installed: $*, and this is no Debian: install them by hand"
}

# Keep maintainer scripts from starting or enabling services: Slipway starts a private Redis itself.
install_packages() {
  may_install "$@"
  say "installing $(wc -w <<<"$*") Debian packages: $*"
  local policy=/usr/sbin/policy-rc.d made_policy='' log
  log=$(mktemp)
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made_policy=1
  fi
  local result=0
  {
    apt-get update -q &&
      DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
  } >"$log" 2>&1 </dev/null || result=$?
  [ -z "$made_policy" ] || rm -f "$policy"
  if [ "$result" != 0 ]; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "apt-get could not install: $*"
  fi
  rm -f "$log"
}

# A service that came with a package installed just now would start at the next boot: nobody asked for it.
disable_service() {
  command -v systemctl >/dev/null || return 0
  systemctl disable --quiet "$1" 2>/dev/null || true
}

wanted_packages() {
  node_packages
  [ "$WANTED" != dev ] || test_packages
}

ensure_packages() {
  local service uninvited=''
  command -v redis-server >/dev/null || uninvited+=' redis-server'
  [ -d /usr/lib/postgresql ] || uninvited+=' postgresql'
  command -v dockerd >/dev/null || uninvited+=' docker.service docker.socket'
  command -v docker-registry >/dev/null || uninvited+=' docker-registry'
  command -v podman >/dev/null || uninvited+=' podman.service podman.socket'
  # shellcheck disable=SC2046  # a list of package names
  set -- $(wanted_packages)
  [ $# = 0 ] && return
  install_packages "$@"
  for service in $uninvited; do disable_service "$service"; done
}

# ------------------------------------------------------------------ the service user

ensure_user() {
  [ "$(id -u)" = 0 ] || return 0
  getent passwd slipway >/dev/null && return
  useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin slipway
  say "made the system user slipway"
}

# ------------------------------------------------------------------ Python

# The distribution's interpreter first: one below somebody's home could not be used by the user slipway.
find_python() {
  local candidate
  for candidate in /usr/bin/python3 python3.13 python3.12 python3.11 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

pip() { "$VENV/bin/python" -m pip "$@"; }
PIP_OPTIONS=(--quiet --disable-pip-version-check --no-input --require-hashes)

# Most of pip's time goes into reading the index, package by package: two of them read a half each. The locks
# name every package, so nothing is to be resolved.
install_quickly() {
  local lock=$1 directory=$VENV/wheels result=0
  rm -rf "$directory" # of one that was interrupted
  mkdir "$directory"
  awk -v to="$directory" '/^[a-zA-Z0-9]/ { half = !half } { print >(to "/half-" half) }' "$lock"
  pip download "${PIP_OPTIONS[@]}" --no-deps --only-binary :all: --dest "$directory" -r "$directory/half-0" &
  pip download "${PIP_OPTIONS[@]}" --no-deps --only-binary :all: --dest "$directory" -r "$directory/half-1" ||
    result=1
  wait $! || result=1
  [ $result = 1 ] ||
    pip install "${PIP_OPTIONS[@]}" --no-deps --no-compile --no-index --find-links "$directory" -r "$lock" ||
    result=1
  rm -rf "$directory"
  return $result
}

# Where a package has no wheel for this machine.
install_plainly() { pip install "${PIP_OPTIONS[@]}" -r "$1"; }

ensure_venv() {
  local lock="requirements/$WANTED.txt" hash stamp log
  hash=$(sha256sum <"$lock" | cut -d' ' -f1)
  for stamp in "$VENV/.stamp-$WANTED" "$VENV/.stamp-dev"; do
    [ "$stamp" = "$VENV/.stamp-dev" ] && hash=$(sha256sum <requirements/dev.txt | cut -d' ' -f1)
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$hash" ] && return
  done
  hash=$(sha256sum <"$lock" | cut -d' ' -f1)
  [ -x "$VENV/bin/python" ] || { say "making the virtual environment with $PYTHON"; "$PYTHON" -m venv "$VENV"; }
  say "installing the Python packages of $lock"
  log=$(mktemp)
  if ! { install_quickly "$lock" || install_plainly "$lock"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "pip could not install $lock"
  fi
  rm -f "$log"
  "$VENV/bin/python" -m compileall -q -j 0 "$VENV/lib" workers platform scripts >/dev/null 2>&1 || true
  echo "$hash" >"$VENV/.stamp-$WANTED"
}

# ------------------------------------------------------------------ the console's front-end packages

ensure_frontend() {
  [ -f package-lock.json ] || return 0
  local hash log
  hash=$(cat package-lock.json scripts/vendor.py static/icons.txt 2>/dev/null | sha256sum | cut -d' ' -f1)
  [ -f static/vendor/.stamp ] && [ "$(cat static/vendor/.stamp)" = "$hash" ] && return
  say "fetching the front-end packages"
  log=$(mktemp)
  if ! { npm ci --no-progress --loglevel=error && "$PYTHON" scripts/vendor.py; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "npm could not fetch the front-end packages"
  fi
  rm -f "$log"
  echo "$hash" >static/vendor/.stamp
}

PYTHON=$(find_python || true)
if [ -z "$PYTHON" ]; then
  install_packages python3 python3-venv
  PYTHON=$(find_python) || fail "Python 3.11 or newer is needed"
fi
missing=$(wanted_packages)
# shellcheck disable=SC2086  # a list of package names
[ -z "$missing" ] || may_install $missing
can_make_venv || install_packages python3-venv
# pip needs nothing more of apt's, and npm nothing of pip's: while one waits for network or disk, another computes.
set -m # a process group of its own, to end it whole
ensure_venv &
set +m
venv=$!
trap 'kill -- -$venv 2>/dev/null || true' EXIT
ensure_packages
ensure_user
ensure_frontend
wait $venv
trap - EXIT
