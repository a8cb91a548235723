import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { version } from "../../shared/version.ts";
import { bareMachine, noBareMachine } from "../support/bare-machine.ts";
import { say } from "../support/say.ts";
import { buildMs } from "../support/single-file.ts";
import { tempDir } from "../support/temp-dir.ts";

const root = resolve(import.meta.dirname, "../..");

it(
  "the Debian package installs the program, a service and its user, and its purge leaves nothing",
  async () => {
    if (spawnSync("dpkg-deb", ["--version"]).error !== undefined)
      return say("SKIPPED: dpkg-deb is not on this machine");
    const machine = await bareMachine({ layers: ["etc", "var", "usr"] });
    if (machine === undefined) return say(noBareMachine);
    onTestFinished(() => machine.remove());
    const built = spawnSync("sh", [resolve(root, "deploy/package-deb.sh"), tempDir()], { encoding: "utf8" });
    expect(built.status, built.stderr).toBe(0);

    const traces = () => (machine.changes() + machine.sh("cat /etc/passwd /etc/group").output).match(/.*millrace.*/g);
    expect(traces()).toBeNull();
    const installed = machine.sh("cat >/tmp/m.deb && dpkg -i /tmp/m.deb && rm /tmp/m.deb", built.stdout.trim());
    expect(installed, installed.output).toMatchObject({ status: 0 });
    expect(traces()).not.toBeNull();
    expect(machine.sh("millrace --version").output).toBe(`${version}\n`);
    expect(machine.sh("stat -c '%a %U' /var/lib/millrace-agent /usr/lib/millrace/millrace").output).toBe(
      "700 millrace-agent\n755 root\n",
    );
    const unit = machine.sh("cat /usr/lib/systemd/system/millrace-agent.service").output;
    expect(unit).toContain("ExecStart=/usr/lib/millrace/millrace agent\n");
    // As the service starts it, without a coordinator: a setting is wrong, and no restart would help.
    const started = machine.sh(
      "set -a; . /etc/millrace-agent/agent.conf; exec setpriv --reuid=millrace-agent --regid=millrace-agent " +
        "--clear-groups --no-new-privs --bounding-set=-all /usr/lib/millrace/millrace agent",
    );
    expect(started).toMatchObject({ status: 2 });
    expect(started.output).toContain("--coordinator (or MILLRACE_COORDINATOR): is not set");

    const purged = machine.sh("dpkg -P millrace");
    expect(purged, purged.output).toMatchObject({ status: 0 });
    expect(traces()).toBeNull();
  },
  buildMs,
);
