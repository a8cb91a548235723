#!/bin/sh
# Installs Debian's bazel: bench/peers/bazel.sh <folder>. It needs a whole JDK of the system's, so it goes into the system
# and not into the folder, and only where we may.
set -eu

command -v bazel >/dev/null && exit 0
apt-get install --yes --quiet --no-install-recommends bazel-bootstrap
