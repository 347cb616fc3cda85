#!/bin/sh
# Starts a Redis with a configuration of this folder, and with the password of a file: Redis reads both from
# standard input, so the password stands neither in its environment nor among its arguments.
# usage: start.sh jobs.conf MAXMEMORY
set -eu
exec redis-server - <<END
$(cat "/etc/vitgan-redis/$1")
maxmemory $2
requirepass $(cat /run/vitgan/vitgan_redis_password)
END
