#!/usr/bin/env bash
# Installs what stands in for DynamoDB in the tests, by exact version and
# checksum, and prints where. What is installed stays in the user's cache, by
# the hash of the lock file, so that only the first call takes time.
set -euo pipefail
here=$(cd "$(dirname "$0")/emulators" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/gco/emulators
dir=$cache/$(sha256sum "$here/package-lock.json" | cut -c1-16)

command -v java >/dev/null || { echo "java is missing: install openjdk-17-jre-headless" >&2; exit 1; }
if [ ! -e "$dir/.complete" ]; then
  command -v npm >/dev/null || { echo "npm is missing: install Node" >&2; exit 1; }
  mkdir -p "$dir"
  (
    flock 9
    if [ ! -e "$dir/.complete" ]; then
      cp "$here/package.json" "$here/package-lock.json" "$dir/"
      (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
      touch "$dir/.complete"
    fi
  ) 9>"$dir/.lock"
fi
echo "$dir/node_modules"
