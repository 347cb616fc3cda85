#!/bin/sh
# Copies what must outlive a machine from one place to another, either way. Who reads there meanwhile finds no half
# models: weights and pictures come first, then the files that make a model or a dataset of them (listed before, so all of
# them have their weights and pictures there), last what may change. Nothing is deleted, and whole files alone appear.
# usage: copy.sh FROM TO [OPTION]...  (of rclone, for what never changes)
set -eu
from=$1 to=$2
shift 2
seals=$(mktemp)
trap 'rm -f "$seals"' EXIT
rclone lsf --recursive --files-only --include '/models/[^.]*/config.json' --include '/datasets/[^.]*/info.json' \
    "$from" >"$seals"
rclone copy --filter-from "$(dirname "$0")/parts.txt" "$@" "$from" "$to"
rclone copy --files-from-raw "$seals" "$@" "$from" "$to"
rclone copy --include /promoted --include /keys.json "$from" "$to"
