#!/bin/sh
# Shows Millrace at work: starts a whole farm in a fresh data folder, runs a real pipeline on it, runs it again to show
# what the cache saves. On a terminal it keeps serving until Ctrl-C; without one it ends with the status of the runs.
#
#   sh deploy/demo.sh
set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd -P)
work=$(mktemp -d "${TMPDIR:-/tmp}/millrace-demo.XXXXXX")
mkdir "$work/config"
# The demo's farm is its own: it neither uses nor overwrites what the user's command line knows.
export XDG_CONFIG_HOME="$work/config" XDG_CACHE_HOME="$work/cache" MILLRACE_DATA="$work/data"
unset MILLRACE_ADDRESS MILLRACE_TOKEN
up_pid=

clean_up() {
  trap '' INT TERM HUP
  if [ -n "$up_pid" ]; then
    kill -TERM "$up_pid" 2>/dev/null || true
    wait "$up_pid" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say() { printf '\n== %s\n' "$*"; }

say "starting a coordinator, NATS and two agents in $work/data"
mkfifo "$work/ready"
# In a session of its own where that is possible: Ctrl-C is for the run at first, which needs its farm to cancel.
own_session=$(command -v setsid || true)
$own_session "$root/bin/millrace" up --agents 2 --grpc-port 0 --http-port 0 --nats-port 0 --json >"$work/ready" &
up_pid=$!
# One line when everything serves; none when it does not come up, and then its own message is above.
read -r ready <"$work/ready" || exit 3
[ -n "$ready" ] || exit 3
http=$(printf '%s' "$ready" | sed 's/.*"http":"\([^"]*\)".*/\1/')

status=0
say "running the pipeline of examples/shop"
"$root/bin/millrace" run "$root/examples/shop" || status=$?
if [ "$status" -eq 0 ]; then
  say "running it again: nothing has changed, so nothing needs to run"
  "$root/bin/millrace" run --quiet "$root/examples/shop" || status=$?
fi

say "the farm serves at $http"
if [ -t 0 ] && [ -t 1 ]; then
  echo "Try it from another shell:"
  echo "  export MILLRACE_DATA=$MILLRACE_DATA"
  echo "  $root/bin/millrace runs"
  echo "Ctrl-C ends the demo and removes its data."
  trap 'exit "$status"' INT
  wait "$up_pid" || true
fi
exit "$status"
