import { shellWord } from "../shell-word.ts";
import type { Service, Task } from "./pipeline.ts";

// Services live inside the Command of their task: a small supervisor, in nothing but POSIX sh and the tools of every Unix,
// is what the agent executes. So any agent can, what runs beside a task is part of its key, and whatever ends the task
// ends them.

/** The status of a task whose services did not come to serve; its own script has not run then. */
export const servicesFailed = 125;

/** The variable that says on which free port a service may listen. */
function portVariable(service: string): string {
  return `MILLRACE_PORT_${service.toUpperCase().replaceAll("-", "_")}`;
}

/** What a task runs: its script, or with services the supervisor that starts them first. */
export function argumentsOf({ run, services }: Pick<Task, "run" | "services">): string[] {
  if (services.length === 0) return ["/bin/sh", "-e", "-c", run];
  return ["/bin/sh", "-c", supervisor, "services", run, ...services.flatMap(fieldsOf)];
}

/** As the supervisor takes them, six to a service. */
function fieldsOf({ name, run, ready, timeoutMs, env }: Service): string[] {
  const exports = Object.entries(env).map(([key, value]) => `export ${key}=${shellWord(value)}\n`);
  const [kind = "none", value = ""] = Object.entries(ready).find(([, given]) => given !== undefined) ?? [];
  return [name, portVariable(name), exports.join("") + run, kind, value, String(Math.ceil(timeoutMs / 1_000))];
}

const supervisor = `
task=$1; shift
dir=$(mktemp -d "\${TMPDIR:-/tmp}/services.XXXXXX") || exit ${servicesFailed}
names=; main=; detach=
command -v setsid >/dev/null 2>&1 && detach=setsid

pause() { sleep 0.05 2>/dev/null || sleep 1; }
# Whether something listens on port $1; 2 when nobody can tell.
listens() {
  if [ -r /proc/net/tcp ]; then
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q ":$(printf '%04X' "$1") [0-9A-F]*:[0-9A-F]* 0A "
  elif command -v nc >/dev/null 2>&1; then nc -z 127.0.0.1 "$1" >/dev/null 2>&1
  else return 2
  fi
}
# A port that nothing listens on, below those that the system gives out.
free_port() {
  tries=0
  while [ $tries -lt 50 ]; do
    port=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 10000)); tries=$((tries + 1))
    listens $port || { echo $port; return; }
  done
  echo $port
}
answers() {
  if command -v curl >/dev/null 2>&1; then curl -fsS --max-time 2 -o /dev/null "$1" >/dev/null 2>&1
  elif command -v wget >/dev/null 2>&1; then wget -q -T 2 -t 1 -O /dev/null "$1" >/dev/null 2>&1
  elif command -v python3 >/dev/null 2>&1; then
    python3 -c 'import sys,urllib.request; urllib.request.urlopen(sys.argv[1], timeout=2)' "$1" >/dev/null 2>&1
  else finish ${servicesFailed} "cannot ask $1: none of curl, wget and python3 is there"
  fi
}
# Ends all services, the last one first, and itself with status $1 after saying $2.
finish() {
  trap '' TERM INT HUP
  : >"$dir/ending"
  for one in $names; do
    [ -s "$dir/$one.pid" ] || continue
    pid=$(cat "$dir/$one.pid")
    kill -TERM "-$pid" 2>/dev/null || kill -TERM "$pid" 2>/dev/null
    waited=0
    while [ ! -s "$dir/$one.status" ] && [ $waited -lt 60 ]; do pause; waited=$((waited + 1)); done
    kill -KILL "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null
  done
  for one in $names; do
    waited=0
    while kill -0 "$(cat "$dir/$one.printer")" 2>/dev/null && [ $waited -lt 20 ]; do pause; waited=$((waited + 1)); done
  done
  [ -z "$2" ] || echo "services: $2"
  rm -rf "$dir"
  exit "$1"
}
start() {
  name=$1; script=$2
  mkfifo "$dir/$name" || finish ${servicesFailed} "cannot make a pipe in $dir"
  ( while IFS= read -r line || [ -n "$line" ]; do printf '[%s] %s\\n' "$name" "$line"; done ) <"$dir/$name" &
  echo $! >"$dir/$name.printer"
  names="$name $names"
  (
    trap '' TERM INT HUP
    exec >"$dir/$name" 2>&1
    ( trap - TERM INT HUP; exec $detach /bin/sh -e -c "$script" ) &
    child=$!
    echo $child >"$dir/$name.pid"
    wait $child 2>/dev/null; status=$?
    [ -e "$dir/ending" ] || echo "ended by itself with status $status"
    echo $status >"$dir/$name.status"
  ) &
}
# Waits until service $1 is ready, as $2 (kind) and $3 say, for at most $4 seconds.
await_ready() {
  name=$1; kind=$2; value=$3; limit=$4
  since=$(date +%s)
  while :; do
    if [ -s "$dir/$name.status" ]; then
      finish ${servicesFailed} "$name ended with status $(cat "$dir/$name.status") before it was ready"
    fi
    case $kind in
      none) pause; [ -s "$dir/$name.status" ] || return 0; continue;;
      tcp) listens "$value"; ready=$?; sought="nothing listens on port $value";;
      http) answers "$value"; ready=$?; sought="$value does not answer";;
      exec) /bin/sh -e -c "$value" >/dev/null 2>&1; ready=$?; sought="its check fails";;
    esac
    [ $ready -ne 2 ] || [ "$kind" != tcp ] || finish ${servicesFailed} "cannot see who listens: neither /proc nor nc is there"
    if [ $ready -eq 0 ]; then [ -s "$dir/$name.status" ] || return 0; continue; fi
    if [ $(($(date +%s) - since)) -ge "$limit" ]; then
      finish ${servicesFailed} "$name was not ready after $limit s: $sought"
    fi
    pause
  done
}

trap 'if [ -n "$main" ]; then kill -TERM $main 2>/dev/null; else finish 143 "stopped before the task began"; fi' TERM INT HUP
count=$(($# / 6)); at=0
while [ $at -lt $count ]; do
  export "$2=$(free_port)"
  set -- "$@" "$1" "$2" "$3" "$4" "$5" "$6"; shift 6; at=$((at + 1))
done
while [ $# -ge 6 ]; do
  value=$5
  case $4 in
    tcp) [ "$5" != auto ] || eval "value=\\$$2"
      if listens "$value"; then
        finish ${servicesFailed} "port $value of $1 is taken on this machine; let it listen on \\$$2 and be ready at tcp: auto"
      fi;;
    http) eval "value=\\"$5\\"";;
  esac
  start "$1" "$3"
  await_ready "$1" "$4" "$value" "$6"
  shift 6
done
/bin/sh -e -c "$task" &
main=$!
wait $main; status=$?
while kill -0 $main 2>/dev/null; do wait $main; status=$?; done
finish $status ""
`;
