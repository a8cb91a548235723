#!/bin/sh
# Packs the one self-contained executable as dist/millrace_<version>_<architecture>.deb: the program, a systemd unit for an
# agent, its user. An agent from a package does not exchange its own program: apt does.
#
#   sh deploy/package-deb.sh [FOLDER]
set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd -P)
cd "$root"
PATH=$root/node_modules/.bin:$PATH
mkdir -p "${1:-dist}"
dist=$(CDPATH='' cd "${1:-dist}" && pwd -P)
command -v dpkg-deb >/dev/null 2>&1 || { echo "package-deb: needs dpkg-deb; on Debian and Ubuntu it is there" >&2; exit 3; }

version=$(node -p 'require("./package.json").version')
case $(uname -m) in
  x86_64) platform=linux-x64 architecture=amd64 ;;
  aarch64) platform=linux-arm64 architecture=arm64 ;;
  *) echo "package-deb: packages are for x86_64 and aarch64; this is $(uname -m)" >&2; exit 3 ;;
esac
program=$dist/millrace-$version-$platform
node deploy/build-single-file.ts --out "$program" >/dev/null

work=$(mktemp -d "$dist/deb.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
umask 022
mkdir -p "$work/DEBIAN" "$work/usr/lib/millrace" "$work/usr/bin" "$work/usr/lib/systemd/system" \
  "$work/etc/millrace-agent" "$work/usr/share/doc/millrace"
cp "$program" "$work/usr/lib/millrace/millrace"
chmod 755 "$work/usr/lib/millrace/millrace"
ln -s ../lib/millrace/millrace "$work/usr/bin/millrace"
cp LICENSE "$work/usr/share/doc/millrace/copyright"
sh deploy/install.sh --print-unit /usr/lib/millrace/millrace >"$work/usr/lib/systemd/system/millrace-agent.service"
cat >"$work/etc/millrace-agent/agent.conf" <<'END'
# Settings of the Millrace agent, as environment variables; `millrace agent --help` explains each.
# gRPC address of the coordinator, such as farm.example.org:7070.
MILLRACE_COORDINATOR=
# What `millrace token create --role agent` printed goes into this file, which only millrace-agent may read.
MILLRACE_TOKEN_FILE=/var/lib/millrace-agent/token
MILLRACE_DATA=/var/lib/millrace-agent/data
MILLRACE_HIDE=/var/lib/millrace-agent
#MILLRACE_POOL=default
#MILLRACE_SLOTS=4
#MILLRACE_LABEL="gpu=yes site=cellar"
END
echo /etc/millrace-agent/agent.conf >"$work/DEBIAN/conffiles"
cat >"$work/DEBIAN/control" <<END
Package: millrace
Version: $version
Architecture: $architecture
Maintainer: The Millrace contributors <millrace@localhost>
Section: devel
Priority: optional
Depends: libc6 (>= 2.28), libstdc++6, passwd
Recommends: bubblewrap, ca-certificates
Suggests: nats-server
Description: distributed build farm and delivery pipeline
 The command line, the coordinator and the agent of Millrace as one program that needs nothing else, and a service for an
 agent. The service starts when /etc/millrace-agent/agent.conf names a coordinator.
END
cat >"$work/DEBIAN/postinst" <<'END'
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
user=millrace-agent home=/var/lib/millrace-agent
id "$user" >/dev/null 2>&1 ||
  useradd --system --user-group --home-dir "$home" --no-create-home --shell /usr/sbin/nologin "$user"
install -d -o "$user" -g "$user" -m 700 "$home" "$home/data"
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
if grep -q '^MILLRACE_COORDINATOR=.' /etc/millrace-agent/agent.conf; then
  systemctl enable millrace-agent.service
  systemctl restart millrace-agent.service
else
  echo "millrace: to have an agent here, name its coordinator in /etc/millrace-agent/agent.conf, then:"
  echo "  systemctl enable --now millrace-agent"
fi
END
cat >"$work/DEBIAN/prerm" <<'END'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then systemctl disable --now millrace-agent.service; fi
END
cat >"$work/DEBIAN/postrm" <<'END'
#!/bin/sh
set -e
[ ! -d /run/systemd/system ] || systemctl daemon-reload
[ "$1" = purge ] || exit 0
rm -rf /var/lib/millrace-agent /etc/millrace-agent
! id millrace-agent >/dev/null 2>&1 || userdel millrace-agent
END
chmod 755 "$work/DEBIAN/postinst" "$work/DEBIAN/prerm" "$work/DEBIAN/postrm"

# gzip: every dpkg reads it, and it takes seconds where xz takes minutes for a third less.
package=$dist/millrace_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zgzip -z3 --build "$work" "$package" >/dev/null
echo "$package"
