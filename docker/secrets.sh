#!/bin/sh
# Makes the secrets of a fresh installation, random ones, in volumes that only those who need them mount. What
# is there is kept. Runs once at each `up`, as root that may write files of others, and no more.
set -eu
make_secret() {
    [ -s "$1" ] && return
    umask 022 # the processes that read it are other users; who reaches the volume may read it
    head -c 24 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' >"$1.part"
    mv "$1.part" "$1"
}
make_secret /run/vitgan/vitgan_redis_password
make_secret /run/grafana/admin_password
