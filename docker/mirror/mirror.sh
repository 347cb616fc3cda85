#!/bin/sh
# Copies /data again and again. What is copied once is never written over: the mirror outlives a mistake here. So first all
# that is new is copied, and then it is looked whether something has changed since, which fails.
# /tmp/mirrored is there if the last round has brought all: the health check.
# usage: mirror.sh TO SECONDS
set -u
copy=$(dirname "$0")/copy.sh
while :; do
    if "$copy" /data "$1" --ignore-existing && "$copy" /data "$1" --immutable; then
        touch /tmp/mirrored
    else
        rm -f /tmp/mirrored
    fi
    sleep "$2"
done
