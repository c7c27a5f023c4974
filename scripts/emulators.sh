#!/usr/bin/env bash
# Installs what stands in for DynamoDB in the tests, by exact version and
# checksum, and prints where. What is installed stays in the user's cache, by
# the hash of the lock file, so that only the first call takes time.
set -euo pipefail
here=$(cd "$(dirname "$0")/emulators" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/gco/emulators
dir=$cache/$(sha256sum "$here/package-lock.json" | cut -c1-16)

# As root, or where sudo asks for no password, what is missing is installed.
need() { # command, Debian package
  command -v "$1" >/dev/null && return
  local root=(sudo -n)
  [ "$(id -u)" = 0 ] && root=()
  if command -v apt-get >/dev/null; then
    echo "installing $2 for $1" >&2
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive sh -c "apt-get install -y -qq $2 || { apt-get update -qq && apt-get install -y -qq $2; }" </dev/null >/dev/null 2>&1 || true
  fi
  command -v "$1" >/dev/null || { echo "$1 is missing: install $2" >&2; exit 1; }
}

need java openjdk-17-jre-headless
if [ ! -e "$dir/.complete" ]; then
  need npm npm
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
