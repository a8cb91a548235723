#!/bin/sh
# Everything that can be said about the source without starting a farm; `npm run check`. Each step runs even when one
# before it has failed, so that one call tells all.
#
#   sh deploy/check.sh
set -u

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd -P)
cd "$root" || exit 3
PATH=$root/node_modules/.bin:$PATH
failed=

step() {
  name=$1
  shift
  if output=$("$@" 2>&1); then
    echo "ok      $name"
  else
    echo "FAILED  $name"
    printf '%s\n' "$output"
    failed="$failed $name"
  fi
}

# `buf generate` cleans and writes proto/gen; a difference to what is checked in means that someone forgot it.
generated_is_current() {
  before=$(mktemp -d) || return 1
  cp -R proto/gen "$before/gen" &&
    buf generate &&
    diff -r "$before/gen" proto/gen
  status=$?
  rm -rf "$before"
  return "$status"
}

reference_is_current() {
  bin/millrace schema --reference | diff docs/guides/pipeline-reference.md - && return
  echo "run: npm run reference"
  return 1
}

step format biome check .
step lint oxlint --type-aware
step types tsc -p .
step unused knip
step proto-lint buf lint
step proto-breaking buf breaking --against proto/image.binpb
step proto-generated generated_is_current
step reference reference_is_current
step unit-tests vitest run test/architecture.test.ts test/tidy.test.ts test/unit

if [ -n "$failed" ]; then
  echo "failed:$failed" >&2
  exit 1
fi
