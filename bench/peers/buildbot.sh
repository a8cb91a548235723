#!/bin/sh
# Installs buildbot with one worker program into a folder: bench/peers/buildbot.sh <folder>. From PyPI, at an exact
# version, into a virtual environment.
set -eu

folder=$1/buildbot
[ -x "$folder/bin/python" ] || python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check buildbot==4.3.0 buildbot-worker==4.3.0 setuptools
