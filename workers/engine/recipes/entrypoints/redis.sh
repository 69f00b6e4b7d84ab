#!/bin/sh
# Redis as its own user, with its data in the working directory. REDIS_PASSWORD asks every client for it.
set -eu

case "${1:-}" in
  ""|-*|*.conf) set -- redis-server "$@" ;;
esac

if [ "$1" != redis-server ]; then
  exec "$@"
fi

if [ "$(id -u)" = 0 ]; then
  find . ! -user redis -exec chown redis:redis {} +
  mkdir -p /run/redis
  chown redis:redis /run/redis
  exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
fi

if [ -n "${REDIS_PASSWORD:-}" ]; then
  # A file instead of an argument: those are in the list of processes.
  umask 0077
  escaped=$(printf '%s' "$REDIS_PASSWORD" | sed 's/[\\"]/\\&/g')
  printf 'requirepass "%s"\n' "$escaped" > /run/redis/password.conf
  unset REDIS_PASSWORD
  shift
  set -- redis-server /run/redis/password.conf "$@"
fi
exec "$@"
