#!/bin/sh
# Installs turbo, moon and nx into a folder: bench/peers/npm.sh <folder>. They come from npm at exact versions, so that
# figures of two days can be held beside each other.
set -eu

folder=$1/npm
mkdir -p "$folder"
[ -f "$folder/package.json" ] || echo '{ "private": true }' >"$folder/package.json"
npm install --prefix "$folder" --no-audit --no-fund --save-exact turbo@2.11.11 @moonrepo/cli@2.5.5 nx@24.0.6
