#!/bin/sh
# Starts a Redis with a configuration of this folder, and with the password of a file: Redis reads both from
# standard input, so the password stands neither in its environment nor among its arguments.
# usage: start.sh jobs.conf MAXMEMORY
set -eu
{
    cat "/etc/vitgan-redis/$1"
    printf 'maxmemory %s\nrequirepass %s\n' "$2" "$(cat /run/vitgan/vitgan_redis_password)"
} | exec redis-server -
