#!/bin/bash
# PostgreSQL as its own user. The first start makes the cluster in PGDATA from POSTGRES_PASSWORD, POSTGRES_USER,
# POSTGRES_DB, POSTGRES_INITDB_ARGS and POSTGRES_HOST_AUTH_METHOD; NAME_FILE reads a value from a file. What lies in
# /docker-entrypoint-initdb.d (*.sh, *.sql) runs once, then.
set -euo pipefail

case "${1:-}" in
  "" | -*) set -- postgres "$@" ;;
esac
if [ "$1" != postgres ]; then
  exec "$@"
fi

if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /run/postgresql
  chown postgres:postgres /run/postgresql
  find "$PGDATA" ! -user postgres -exec chown postgres:postgres {} +
  chmod 0700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

fail() {
  echo "$1" >&2
  exit 1
}

setting() { # NAME DEFAULT: the value, of NAME_FILE's file if there is one
  local file="$1_FILE"
  if [ -n "${!file:-}" ]; then
    cat "${!file}"
  else
    printf '%s' "${!1:-$2}"
  fi
}

initialise() {
  local password user database method initdb_args=()
  password=$(setting POSTGRES_PASSWORD '')
  user=$(setting POSTGRES_USER postgres)
  database=$(setting POSTGRES_DB "$user")
  method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  read -ra initdb_args <<< "${POSTGRES_INITDB_ARGS:-}"
  if [ -z "$password" ] && [ "$method" != trust ]; then
    fail "Set POSTGRES_PASSWORD for the superuser, or POSTGRES_HOST_AUTH_METHOD=trust to let everybody in."
  fi
  # What a start that was cut off left would be taken for a cluster.
  trap 'find "$PGDATA" -mindepth 1 -delete' ERR EXIT
  initdb --pgdata="$PGDATA" --username="$user" --auth-host="$method" --auth-local=trust \
    --pwfile=<(printf '%s\n' "${password:-unused}") "${initdb_args[@]}"
  echo "host all all all $method" >> "$PGDATA/pg_hba.conf"
  pg_ctl --pgdata="$PGDATA" --wait --options="-c listen_addresses=''" start
  if [ "$database" != postgres ]; then
    createdb --username="$user" --no-password --maintenance-db=postgres "$database"
  fi
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    case "$file" in
      *.sh) bash "$file" ;;
      *.sql) psql --username="$user" --no-password --dbname="$database" -v ON_ERROR_STOP=1 --file="$file" ;;
    esac
  done
  pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
  trap - ERR EXIT
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initialise
fi
unset POSTGRES_PASSWORD
exec "$@"
