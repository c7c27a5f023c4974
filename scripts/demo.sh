#!/usr/bin/env bash
# Runs the whole system, kills a region while its jobs run, and shows that they
# finish elsewhere. It keeps everything in a directory of its own, listens on a
# free port of loopback, and ends what it started.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# eventually SECONDS COMMAND... runs the command until it succeeds.
eventually() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || fail "gave up waiting for: $*"
    sleep 0.2
  done
}

dir=$(mktemp -d "${TMPDIR:-/tmp}/gco-demo.XXXXXX")
export GCO_CONFIG=$dir/config.yaml PATH=$dir:$PATH
unset GCO_ADDR GCO_TOKEN GCO_TOKEN_FILE
up=
tables=
flags=()

# processes_of REGION lists the processes that run its attempts.
processes_of() { ps -eo pid=,args= | grep -F "$dir/up/regions/$1/runtime/" | grep -F ' supervise ' | grep -v grep || true; }
none_of() { [ -z "$(processes_of "$1")" ]; }

clean_up() {
  local code=$?
  trap - EXIT INT TERM
  if [ -n "$up" ]; then
    kill -INT "$up" 2>/dev/null || true
    wait "$up" 2>/dev/null || true
  fi
  for region in us-east-1 us-west-2 eu-west-1; do eventually 30 none_of "$region"; done
  [ -z "$tables" ] || kill "$tables" 2>/dev/null || true
  if [ "$code" -ne 0 ]; then
    printf '\ndemo: failed; what gco up said:\n' >&2
    cat "$dir/up.out" "$dir/up.err" >&2 2>/dev/null || true
  fi
  rm -rf "$dir"
  exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

say "Building"
CGO_ENABLED=0 go build -trimpath -o "$dir/gco" ./cmd/gco
begun=$SECONDS

case ${STORE:-sqlite} in
sqlite) ;;
dynamodb)
  say "Starting what stands in for DynamoDB"
  modules=$(scripts/emulators.sh)
  port=$((20000 + RANDOM % 20000))
  "$modules/@dynoxide/linux-x64/dynoxide" serve --port "$port" >"$dir/tables.out" 2>&1 &
  tables=$!
  eventually 20 grep -q listening "$dir/tables.out"
  flags=(--store dynamodb --endpoint-url "http://127.0.0.1:$port")
  ;;
*) fail "STORE=$STORE: sqlite or dynamodb expected" ;;
esac

say "Starting a control plane and three regions, each agent a process of its own"
gco up --region-process --dir "$dir/up" --listen 127.0.0.1:0 "${flags[@]}" >"$dir/up.out" 2>"$dir/up.err" &
up=$!
eventually 20 grep -q Ctrl-C "$dir/up.out"
head -4 "$dir/up.out"
gco regions list

say "Submitting the examples"
manifests=$(grep -l '^kind: Job$' examples/*.yaml | grep -v checkpoint.yaml)
# shellcheck disable=SC2086 # one argument a file
gco submit $manifests

say "Following the logs of a job that keeps checkpoints"
checkpoint=$(gco submit examples/checkpoint.yaml --region us-east-1 --region us-west-2 -o name)
gco jobs wait "$checkpoint" --logs &
follower=$!
has_logs() { gco jobs logs "$checkpoint" | grep -q 'step 4'; }
eventually 30 has_logs
gco jobs explain "$checkpoint" | sed -n '/^Regions/,$p'

region=$(gco jobs get "$checkpoint" -o json | sed -n 's/^  "region": "\(.*\)",$/\1/p' | head -1)
agent=$(sed -n "s/.*$region (pid \([0-9]*\)).*/\1/p" "$dir/up.out")
[ -n "$agent" ] || fail "gco up did not say the process of $region"
say "Killing the agent of $region (process $agent) with kill -9, while these run there"
gco jobs list --state running --region "$region"
running=$(gco jobs list --state running --region "$region" -o name)
kill -9 "$agent"
killed=$SECONDS

eventually 30 none_of "$region"
say "After $((SECONDS - killed)) s the supervisors of $region have ended its work by themselves"
region_is_lost() { gco regions list | grep -q "^$region	lost"; }
eventually 60 region_is_lost
say "After $((SECONDS - killed)) s its lease has run out, and its jobs are placed anew"
gco regions list

wait "$follower" || fail "the job with checkpoints did not succeed"
all=$(gco jobs list -o name)
# shellcheck disable=SC2086
gco jobs wait $all --timeout 2m >/dev/null 2>&1 || true # one of them is meant to fail

say "What ran where, and why"
gco events --type 'job.*' >"$dir/events"
gco jobs list --limit 1000 >"$dir/jobs"
awk -F '\t' -v OFS='\t' -v names="$dir/jobs" '
  BEGIN {
    while ((getline line < names) > 0) { split(line, f, "\t"); name["job/" f[1]] = f[3]; state["job/" f[1]] = f[4] }
    print "JOB", "STATE", "ATTEMPTS", "REGIONS", "WHY"
  }
  $3 in name {
    if (!($3 in seen)) { seen[$3] = 1; order[++n] = $3 }
    if ($2 == "job.placed") say($3, "in " $5 ": " $7)
    if ($2 == "job.claimed") { where[$3] = where[$3] (where[$3] == "" ? "" : " -> ") $5; attempts[$3] = $6 }
    if ($2 == "job.queued" && $5 != "" || $2 == "job.failed") say($3, $7)
  }
  function say(job, what) { why[job] = why[job] (why[job] == "" ? "" : "; ") what }
  END { for (i = 1; i <= n; i++) { j = order[i]; print name[j], state[j], attempts[j], where[j], why[j] } }
' "$dir/events" >"$dir/table"
column -t -s $'\t' "$dir/table" 2>/dev/null || cat "$dir/table"

moved=$(grep -c ' -> ' "$dir/table" || true)
wrong=$(awk -F '\t' 'NR > 1 && $2 != "succeeded" && !($1 == "failing" && $2 == "failed")' "$dir/table")
[ -n "$running" ] || fail "nothing ran in $region when it was killed"
[ "$moved" -gt 0 ] || fail "no job has moved to another region"
[ -z "$wrong" ] || fail "did not end as they should: $wrong"
say "$region died; every job that ran there has finished elsewhere, in $((SECONDS - begun)) s"
