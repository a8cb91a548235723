#!/bin/sh
# Packs the product: millrace-<version>.tgz in a folder, `dist` if not said, for `npm install` into any other.
#
#   sh deploy/package.sh [FOLDER]
set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd -P)
PATH=$root/node_modules/.bin:$PATH
dist=${1:-$root/dist}

rm -rf "$dist/package"
node "$root/deploy/build-package.ts" "$dist/package"
(cd "$dist/package" && npm pack --silent --pack-destination ..)
