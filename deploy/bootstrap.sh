#!/bin/sh
# Makes a fresh checkout ready to run: the dependencies of package-lock.json with the Node that they pin, nats-server,
# and bubblewrap, in which tasks run. Safe to repeat, and quick when nothing is missing.
#
#   sh deploy/bootstrap.sh [--no-nats]    --no-nats: for what starts no farm
set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd -P)
want_nats=yes
for arg in "$@"; do
  case $arg in
    --no-nats) want_nats=no ;;
    *) echo "bootstrap: unknown argument $arg (known: --no-nats)" >&2; exit 2 ;;
  esac
done

say() { echo "bootstrap: $*" >&2; }
fail() { say "$*"; exit 3; }

# The lock file is copied into node_modules after a whole installation: a broken one has no copy and is done again.
stamp=$root/node_modules/.millrace-lock
pinned=$root/node_modules/node/bin/node

install_dependencies() {
  command -v npm >/dev/null 2>&1 || fail "npm is missing; install Node 20 or later with npm (https://nodejs.org), then try again"
  say "installing the dependencies of package-lock.json"
  # npm hands its own settings down to scripts; a nested npm must not take them for its command line.
  # Not `npm ci`: it refuses a lock file that was written where a registry had no package for some other platform.
  # Without scripts but the one that fetches the pinned Node: where there is a lock file, npm overlooks that better-sqlite3
  # comes compiled, and compiles it for minutes, where there is a compiler and a network for the headers of Node.
  (cd "$root" && npm install --ignore-scripts --no-save --no-audit --no-fund --loglevel=error >&2 &&
    npm rebuild node --loglevel=error >&2) ||
    fail "npm install failed; see its message above (no network? then set a reachable registry: npm config set registry URL)"
  "$pinned" --version >/dev/null 2>&1 ||
    fail "the pinned Node does not run on this machine ($(uname -sm)); supported are Linux and macOS on x64 and arm64 (with glibc on Linux)"
  cp "$root/package-lock.json" "$stamp"
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"
  elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then sudo "$@"
  else return 1
  fi
}

lists_are_new=
install_package() {
  package=$1
  if command -v apt-get >/dev/null 2>&1; then
    [ -n "$lists_are_new" ] || as_root apt-get update -qq >&2 || return 1
    lists_are_new=yes
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >&2
  elif command -v dnf >/dev/null 2>&1; then as_root dnf install -y -q "$package" >&2
  elif command -v apk >/dev/null 2>&1; then as_root apk add -q "$package" >&2
  elif command -v brew >/dev/null 2>&1; then brew install -q "$package" >&2
  else return 1
  fi
}

has_bubblewrap() { command -v bwrap >/dev/null 2>&1; }
has_nats() { PATH=$PATH:/usr/sbin:/usr/local/sbin command -v nats-server >/dev/null 2>&1; }

cmp -s "$root/package-lock.json" "$stamp" && [ -x "$pinned" ] || install_dependencies

if [ "$want_nats" = yes ] && ! has_nats; then
  say "installing nats-server with the system's package manager"
  install_package nats-server && has_nats || fail "nats-server could not be installed. Install 2.9 or later yourself and try again:
  Debian, Ubuntu: sudo apt-get update && sudo apt-get install nats-server
  macOS: brew install nats-server
  others: https://docs.nats.io/running-a-nats-service/introduction/installation"
fi

if [ "$want_nats" = yes ] && [ "$(uname -s)" = Linux ] && ! has_bubblewrap; then
  say "installing bubblewrap with the system's package manager"
  install_package bubblewrap && has_bubblewrap ||
    say "bubblewrap could not be installed: tasks run without a sandbox (Debian, Ubuntu: sudo apt-get install bubblewrap)"
fi
