#!/bin/sh
# Installs a Millrace agent on this machine, upgrades or removes it. Safe to repeat. The coordinator serves this script:
#
#   curl -fsS http://COORDINATOR:7080/install.sh | sh -s -- --token T [--pool P] [--slots N] [--label k=v]…
#
# As root it makes a system user and, where systemd runs, a service; elsewhere a small loop keeps the agent running. With
# --prefix it needs no rights at all and touches nothing else. --dry-run says what would be done and changes nothing.
set -eu

# filled in by the coordinator: begin
served_http='' served_coordinator='' served_ca='' served_programs=''
served_advice='fetch this script from a coordinator: http://COORDINATOR:7080/install.sh'
# filled in by the coordinator: end

user=millrace-agent
home=/var/lib/$user
settings=/etc/$user/agent.conf
unit_file=/etc/systemd/system/$user.service
# An agent that drains has this long, and a little more, before it is ended.
stop_s=45
# From the start of the agent until it has joined.
join_s=60

say() { echo "millrace: $*"; }
fail() { echo "millrace: $*" >&2; exit 3; }
misused() { echo "millrace: $*; see --help" >&2; exit 2; }

usage() {
  cat <<'END'
Usage: sh install.sh --token T [options]
  --token T            the token that `millrace token create --role agent` printed
  --coordinator H:P    gRPC address of the coordinator (default: where this script came from)
  --pool NAME          pool to belong to
  --slots N            tasks to run at a time
  --label NAME=VALUE   label that tasks can ask for; may be given again
  --name ID            id of the agent: 1 to 64 of a-z, 0-9 and -
  --prefix DIR         install all of it into DIR and run as whoever calls; no root, no system user, no service
  --no-service         install, but start nothing
  --dry-run            say what would be done, and change nothing
  --uninstall          stop the agent and remove all that was installed; --purge is the same
  --print-unit FILE    print the systemd unit for an executable, for packages
END
}

# --- what was asked for ---------------------------------------------------------------------------------------------

token='' coordinator='' pool='' slots='' labels='' name='' prefix=''
service=yes dry_run='' action=install_agent unit_program=''

# A value goes into a file that a shell and systemd read: nothing passes that would mean something there.
matches() { printf '%s\n' "$1" | grep -Eqx "$2"; }
need() { matches "$2" "$3" || misused "$1 \"$2\" is not $4"; }

read_arguments() {
  while [ $# -gt 0 ]; do
    option=$1
    case $option in
      --token | --coordinator | --pool | --slots | --label | --name | --prefix | --print-unit)
        [ $# -ge 2 ] || misused "$option needs a value"
        value=$2
        shift 2
        ;;
      *) shift ;;
    esac
    case $option in
      --token)
        # Never the value itself: what is said here may be kept in a log.
        matches "$value" 'mr_[A-Za-z0-9_-]{8,200}(\.[A-Za-z0-9_-]{43})?' || misused "the value of --token is no token"
        token=$value
        ;;
      --coordinator)
        need "$option" "$value" '([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}' 'HOST:PORT'
        coordinator=$value
        ;;
      --pool) need "$option" "$value" '[a-z0-9-]{1,64}' '1 to 64 of a-z, 0-9 and -'; pool=$value ;;
      --slots) need "$option" "$value" '[1-9][0-9]{0,3}' 'a number from 1'; slots=$value ;;
      --label)
        need "$option" "$value" '[A-Za-z0-9._/-]+=[A-Za-z0-9._/:@+,-]*' 'NAME=VALUE of letters, digits and ._/:@+,-'
        labels="$labels${labels:+ }$value"
        ;;
      --name) need "$option" "$value" '[a-z0-9-]{1,64}' '1 to 64 of a-z, 0-9 and -'; name=$value ;;
      --prefix)
        need "$option" "$value" '/[A-Za-z0-9._/+@-]*[A-Za-z0-9._+@-]' 'an absolute path of letters, digits and ._+@-'
        prefix=$value
        ;;
      --print-unit) action=print-unit unit_program=$value ;;
      --no-service) service='' ;;
      --dry-run) dry_run=yes ;;
      --uninstall | --purge) action=uninstall_agent ;;
      --help | -h) action=usage ;;
      *) misused "unknown option $option" ;;
    esac
  done
}

# --- doing, or saying what would be done ----------------------------------------------------------------------------

# All that changes something goes through these two.
run() {
  if [ -n "$dry_run" ]; then say "would run: $*"; else "$@"; fi
}
# Below the agent's own folder, only the agent's user writes: root must not follow what that user may have put there.
as_agent() {
  if [ -n "$dry_run" ]; then
    if [ -n "$prefix" ]; then say "would run: $1"; else say "would run as $user: $1"; fi
  elif [ -n "$prefix" ]; then
    sh -c "$1"
  elif command -v setpriv >/dev/null 2>&1 && setpriv --version 2>/dev/null | grep -q util-linux; then
    setpriv --reuid="$user" --regid="$user" --init-groups env HOME="$home" sh -c "$1"
  else
    su -s /bin/sh "$user" -c "HOME='$home'; export HOME; $1"
  fi
}

# --- the machine ----------------------------------------------------------------------------------------------------

find_platform() {
  [ "$(uname -s)" = Linux ] || fail "agents run on Linux; this is $(uname -s)"
  case $(uname -m) in
    x86_64) platform=linux-x64 ;;
    aarch64) platform=linux-arm64 ;;
    *) fail "agents run on x86_64 and aarch64; this is $(uname -m)" ;;
  esac
}

require_tools() {
  for tool in curl sha256sum base64 od grep sed; do
    command -v "$tool" >/dev/null 2>&1 || fail "$tool is missing; install it and try again"
  done
}

has_systemd() { [ -z "$prefix" ] && [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; }

# --- trust ----------------------------------------------------------------------------------------------------------

# The token names the farm's own authority, so what this script brings along must be that one.
check_authority() {
  fingerprint=''
  case $token in *.*) fingerprint=${token#*.} ;; esac
  if [ -z "$served_ca" ]; then
    [ -z "$fingerprint" ] || fail "the token is of a farm with TLS, but this script came without: fetch it over https"
    return 0
  fi
  [ -n "$fingerprint" ] || return 0 # nothing to compare: whoever fetched the script has chosen to trust it
  wanted=$(printf '%s=' "$fingerprint" | tr -- '-_' '+/' | base64 -d | od -An -v -tx1 | tr -d ' \n')
  given=$(printf '%s\n' "$served_ca" | sed '/-----/d' | base64 -d | sha256sum | cut -d' ' -f1)
  [ "$wanted" = "$given" ] || fail "this script does not come from the farm of the token: its authority is another one"
}

# The farm's certificate is good for localhost, whatever we call the coordinator; who signed it is what counts.
fetch() {
  case ${served_ca:+own-}$served_http in
    own-https://*)
      printf '%s\n' "$served_ca" >"$work/ca.pem"
      authority=${served_http#https://}
      curl -fsS --retry 3 --cacert "$work/ca.pem" --connect-to "localhost:${authority##*:}:$authority" \
        -o "$2" "https://localhost:${authority##*:}$1"
      ;;
    *) curl -fsS --retry 3 -o "$2" "$served_http$1" ;;
  esac
}

# --- what is put where ----------------------------------------------------------------------------------------------

# Also for packages. Tasks run in a sandbox that the agent makes of user namespaces, mounts and control groups, so some
# hardening that is usual elsewhere would break it: see docs/guides/agents.md.
unit() {
  cat <<END
[Unit]
Description=Millrace agent
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
User=$user
Group=$user
EnvironmentFile=$settings
ExecStart=$1 agent
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2
TimeoutStopSec=$stop_s
# Each task is in a control group of its own; services that were deployed here go on when the agent restarts, and one
# task that runs out of memory is no reason to end the others.
Delegate=yes
KillMode=process
OOMPolicy=continue
TasksMax=infinity
LimitNOFILE=65536
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectClock=yes
ProtectKernelModules=yes
ProtectHostname=no
KeyringMode=private
ReadWritePaths=$home

[Install]
WantedBy=multi-user.target
END
}

settings_text() {
  cat <<END
# Settings of the Millrace agent, as environment variables; \`millrace agent --help\` explains each. Written by install.sh.
MILLRACE_COORDINATOR=$coordinator
MILLRACE_TOKEN_FILE=$home/token
MILLRACE_DATA=$home/data
MILLRACE_HIDE=$home
MILLRACE_READY_FILE=$home/online
MILLRACE_UPGRADE=true
END
  [ -z "$pool" ] || echo "MILLRACE_POOL=$pool"
  [ -z "$slots" ] || echo "MILLRACE_SLOTS=$slots"
  [ -z "$name" ] || echo "MILLRACE_NAME=$name"
  [ -z "$labels" ] || echo "MILLRACE_LABEL=\"$labels\""
}

# Keeps the agent running where no init does it.
keeper() {
  cat <<'END'
#!/bin/sh
# Keeps the Millrace agent running; arguments: its folder, its settings. TERM ends both. Written by install.sh.
set -u
home=$1
set -a
. "$2"
set +a
echo $$ >"$home/keeper.pid"
stopping='' pause_s=1
trap 'stopping=yes; kill -TERM "$child" 2>/dev/null' TERM INT HUP
while :; do
  [ "$(wc -c 2>/dev/null <"$home/agent.log" || echo 0)" -lt 10000000 ] || mv "$home/agent.log" "$home/agent.log.1"
  began_s=$(date +%s)
  "$home/bin/millrace" agent >>"$home/agent.log" 2>&1 </dev/null &
  child=$!
  wait "$child"
  status=$?
  # A signal ends the waiting, not the agent: it drains first.
  while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    status=$?
  done
  # 0: it was told to end. 2: its settings are wrong, and no other try would help.
  if [ -n "$stopping" ] || [ "$status" -eq 0 ] || [ "$status" -eq 2 ]; then
    rm -f "$home/keeper.pid"
    exit "$status"
  fi
  [ $(($(date +%s) - began_s)) -lt 60 ] || pause_s=1
  echo "the agent ended with $status; it is started again in $pause_s s" >>"$home/agent.log"
  sleep "$pause_s" &
  child=$!
  wait "$child"
  [ -z "$stopping" ] || { rm -f "$home/keeper.pid"; exit 0; }
  pause_s=$((pause_s * 2))
  [ "$pause_s" -le 60 ] || pause_s=60
done
END
}

# --- installing -----------------------------------------------------------------------------------------------------

# Gives the line of this machine's program: its name, digest and version.
find_program() {
  line=$(printf '%s\n' "$served_programs" | grep "^$platform " || true)
  [ -n "$line" ] || fail "the coordinator has no program for $platform: $served_advice"
  program=$(echo "$line" | cut -d' ' -f2)
  sha256=$(echo "$line" | cut -d' ' -f3)
  version=$(echo "$line" | cut -d' ' -f4)
}

make_user() {
  [ -z "$prefix" ] || return 0
  ! id "$user" >/dev/null 2>&1 || return 0
  say "system user $user"
  if command -v useradd >/dev/null 2>&1; then
    run useradd --system --user-group --home-dir "$home" --no-create-home --shell /usr/sbin/nologin "$user"
  else
    run addgroup -S "$user"
    run adduser -S -D -H -h "$home" -s /sbin/nologin -G "$user" "$user"
  fi
}

make_folders() {
  if [ -n "$prefix" ]; then
    run mkdir -p "$home"
    run chmod 700 "$home"
  else
    run mkdir -p "$home" "${settings%/*}"
    run chown "$user:$user" "$home"
    run chmod 700 "$home"
  fi
  as_agent "mkdir -p '$home/bin' '$home/data' && chmod 700 '$home/data'"
}

digest_of() { sha256sum "$1" 2>/dev/null | cut -d' ' -f1; }

put_program() {
  if [ "$(digest_of "$home/bin/millrace")" = "$sha256" ]; then
    say "program $version is there already"
    return 0
  fi
  say "program $version from $served_http/dist/$program"
  changed=yes
  if [ -n "$dry_run" ]; then
    say "would download it, compare its SHA-256 with $sha256 and put it into $home/bin/millrace"
    return 0
  fi
  fetch "/dist/$program" "$work/millrace"
  [ "$(digest_of "$work/millrace")" = "$sha256" ] || fail "the download is not what the coordinator said: try again"
  chmod 755 "$work/millrace"
  "$work/millrace" --version >/dev/null 2>&1 || fail "the program does not run on this machine; it needs glibc 2.28 or later"
  chmod 755 "$work"
  # As an upgrade does it: the old one stays, and the new one takes its name at once and whole.
  as_agent "cp '$work/millrace' '$home/bin/millrace.new' && chmod 755 '$home/bin/millrace.new' &&
    { [ ! -f '$home/bin/millrace' ] || ln -f '$home/bin/millrace' '$home/bin/millrace.previous'; } &&
    mv -f '$home/bin/millrace.new' '$home/bin/millrace'"
}

put_settings() {
  if [ -n "$token" ]; then
    say "token in $home/token, which only its user can read"
    printf '%s\n' "$token" | as_agent "umask 077; cat >'$home/token.new' && mv -f '$home/token.new' '$home/token'"
    changed=yes
  fi
  if [ "$(settings_text)" = "$(cat "$settings" 2>/dev/null)" ]; then return 0; fi
  say "settings in $settings"
  changed=yes
  [ -z "$dry_run" ] || { settings_text | sed 's/^/    /'; return 0; }
  settings_text >"$settings.new"
  chmod 644 "$settings.new"
  mv -f "$settings.new" "$settings"
}

# A second call that names nothing new keeps what the first one said.
keep_settings() {
  [ -f "$settings" ] || return 0
  kept() { sed -n "s/^$1=\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" "$settings"; }
  [ -n "$pool" ] || pool=$(kept MILLRACE_POOL)
  [ -n "$slots" ] || slots=$(kept MILLRACE_SLOTS)
  [ -n "$name" ] || name=$(kept MILLRACE_NAME)
  [ -n "$labels" ] || labels=$(kept MILLRACE_LABEL)
}

keeper_pid() {
  pid=$(cat "$home/keeper.pid" 2>/dev/null) || return 1
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q "$home/bin/keep-running" && echo "$pid"
}

start_agent() {
  if has_systemd; then
    say "service $user"
    if [ -n "$dry_run" ]; then
      unit "$home/bin/millrace" | sed 's/^/    /'
    else
      unit "$home/bin/millrace" >"$unit_file"
    fi
    run systemctl daemon-reload
    run systemctl enable "$user.service"
    as_agent "rm -f '$home/online'"
    run systemctl restart "$user.service"
  else
    say "no systemd here: a small loop keeps the agent running until this machine restarts;"
    say "to have it back then, have your init run: sh $home/bin/keep-running $home $settings"
    stop_keeper
    keeper | as_agent "cat >'$home/bin/keep-running'; rm -f '$home/online'"
    as_agent "setsid sh '$home/bin/keep-running' '$home' '$settings' >/dev/null 2>&1 </dev/null &"
  fi
}

wait_until_joined() {
  [ -z "$dry_run" ] || return 0
  waited_s=0
  while [ ! -f "$home/online" ]; do
    if [ "$waited_s" -ge "$join_s" ]; then
      if has_systemd; then journalctl -u "$user" -n 10 --no-pager >&2 || true; else tail -n 10 "$home/agent.log" >&2 || true; fi
      fail "the agent has not joined $coordinator within $join_s s; above is what it says, and it goes on trying"
    fi
    sleep 1
    waited_s=$((waited_s + 1))
  done
  say "agent $(cat "$home/online") has joined $coordinator"
}

is_running() {
  if has_systemd; then systemctl is-active --quiet "$user.service"; else keeper_pid >/dev/null; fi
}

install_agent() {
  find_platform
  require_tools
  coordinator=${coordinator:-$served_coordinator}
  [ -n "$coordinator" ] || fail "$served_advice"
  [ -n "$token" ] || [ -f "$home/token" ] || misused "--token is missing: \`millrace token create --role agent\` prints one"
  check_authority
  find_program
  if [ -z "$dry_run" ]; then
    # Where the program goes, for it is large. Not in the agent's own folder, where its user could exchange it.
    near=${home%/*}
    [ -z "$prefix" ] || near=$prefix
    mkdir -p "$near"
    work=$(mktemp -d "$near/.millrace-install.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 3' INT TERM HUP
  fi
  changed=''
  keep_settings
  make_user
  make_folders
  put_program
  put_settings
  if [ -z "$service" ]; then
    say "installed; start it with: set -a; . $settings; $home/bin/millrace agent"
  elif [ -z "$changed" ] && is_running; then
    say "nothing to do: the agent runs and is as it should be"
  else
    start_agent
    wait_until_joined
  fi
}

# --- removing -------------------------------------------------------------------------------------------------------

stop_keeper() {
  pid=$(keeper_pid) || return 0
  say "stopping the agent; it finishes what it has, for at most $stop_s s"
  run kill -TERM "$pid"
  [ -z "$dry_run" ] || return 0
  waited_s=0
  # By its name: where nobody reaps, a process that has ended is still to be seen.
  while keeper_pid >/dev/null && [ "$waited_s" -lt "$stop_s" ]; do
    sleep 1
    waited_s=$((waited_s + 1))
  done
}

# Whatever still runs there: above all services that were deployed, which outlive their agent.
end_leftovers() {
  for process in /proc/[0-9]*; do
    case $(readlink "$process/cwd" 2>/dev/null) in
      "$home" | "$home"/*) run kill -KILL "${process#/proc/}" 2>/dev/null || true ;;
    esac
  done
}

uninstall_agent() {
  if has_systemd && [ -f "$unit_file" ]; then
    run systemctl disable --now "$user.service"
    run rm -f "$unit_file"
    run systemctl daemon-reload
  fi
  stop_keeper
  end_leftovers
  # By name: a prefix may hold other things. What tasks left may be read-only even for its owner.
  for path in bin data token online keeper.pid agent.log agent.log.1 agent.conf; do
    [ -e "$home/$path" ] || continue
    [ -z "$prefix" ] || run chmod -R u+w "$home/$path"
    run rm -rf "${home:?}/$path"
  done
  [ ! -d "$home" ] || run rmdir "$home" 2>/dev/null || say "$home holds something else, and stays"
  if [ -z "$prefix" ]; then
    run rm -rf "${settings%/*}"
    if id "$user" >/dev/null 2>&1; then
      # Tools that the agent asked for their version leave things there; nobody else is this user.
      run find /tmp /var/tmp -maxdepth 1 -user "$user" -exec rm -rf {} +
      if command -v userdel >/dev/null 2>&1; then run userdel "$user"; else run deluser "$user"; fi
    fi
  fi
  say "the agent is removed from this machine; \`millrace agents remove\` takes it from the farm's list"
}

# One command at the very end, so that half a script does nothing.
main() {
  read_arguments "$@"
  if [ -n "$prefix" ]; then
    home=$prefix
    settings=$prefix/agent.conf
  fi
  case $action in
    usage) usage; return 0 ;;
    print-unit) unit "$unit_program"; return 0 ;;
  esac
  if [ -z "$prefix" ] && [ "$(id -u)" -ne 0 ] && [ -z "$dry_run" ]; then
    fail "this needs root: pipe it into \`sudo sh -s -- …\`, or name a folder of yours with --prefix"
  fi
  "$action"
}

main "$@"
