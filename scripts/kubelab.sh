#!/usr/bin/env bash
# Prints the path of the kubelab binary, a real Kubernetes control plane in one
# process for tests and for gco up --kubernetes. It is built where it is
# missing, which takes minutes, and stays in the user's cache by the hash of
# all that goes into it.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/gco/kubelab

hash=$(
  {
    go env GOVERSION GOOS GOARCH
    sed -n "/^version=/,\$p" scripts/kubelab.sh
    find kubelab internal/runtime/local/process -type f \
      \( -name '*.go' -o -name go.mod -o -name go.sum -o -path 'kubelab/cluster/stages/*' \) ! -name '*_test.go' -print0 |
      LC_ALL=C sort -z | xargs -0 sha256sum
  } | sha256sum | cut -c1-16
)
binary=$cache/$hash/kubelab
[ -x "$binary" ] && { echo "$binary"; exit; }

version=$(cd kubelab && go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${version#v1.} minor=${minor%%.*}
stamp=k8s.io/component-base/version
mkdir -p "$cache/$hash"
exec 9>"$cache/.lock"
flock 9
if [ ! -x "$binary" ]; then
  echo "building kubelab (Kubernetes $version), once; the first time takes five to ten minutes" >&2
  (cd kubelab && CGO_ENABLED=0 nice -n 10 go build -trimpath -o "$binary.new" -ldflags "-s -w \
    -X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=$minor \
    -X k8s.io/client-go/pkg/version.gitVersion=$version" ./cmd/kubelab) >&2
  mv "$binary.new" "$binary"
  # What other sources made is not asked for again soon.
  find "$cache" -mindepth 1 -maxdepth 1 -type d -mtime +14 ! -name "$hash" -exec rm -rf {} +
fi
echo "$binary"
