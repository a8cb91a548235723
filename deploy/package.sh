#!/bin/sh
# Packs the product: dist/millrace-<version>.tgz, for `npm install` into any folder. Node strips no types below
# node_modules, so the package holds JavaScript; its layout is that of the repository.
#
#   sh deploy/package.sh
set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd -P)
cd "$root"
PATH=$root/node_modules/.bin:$PATH
package=dist/package

rm -rf dist
mkdir -p "$package/bin"
tsc -p tsconfig.package.json
for file in agent/runner/*.mjs; do cp "$file" "$package/$file"; done
find proto -name '*.proto' | while read -r file; do
  mkdir -p "$package/$(dirname "$file")"
  cp "$file" "$package/$file"
done
cp proto/image.binpb "$package/proto/"
cp bin/millrace "$package/bin/"
chmod 755 "$package/bin/millrace"
cp LICENSE README.md "$package/"
mkdir "$package/deploy"
cp deploy/install.sh "$package/deploy/"

# The pinned Node comes along as a dependency: what installs may be older than what we need.
node --input-type=module -e '
  import { readFileSync, writeFileSync } from "node:fs";
  const { name, version, description, license, type, bin, allowScripts, dependencies, devDependencies } =
    JSON.parse(readFileSync("package.json", "utf8"));
  const pinned = { ...dependencies, node: devDependencies.node };
  const manifest = { name, version, description, license, type, bin, allowScripts, dependencies: pinned };
  writeFileSync(process.argv[1], JSON.stringify(manifest, null, 2) + "\n");
' "$package/package.json"

(cd "$package" && npm pack --silent --pack-destination ..)
