#!/usr/bin/env python3
"""Command of an `exec` pool: starts each agent as a process of this machine. Replace four functions, and it is your cloud.

    millrace pools set linux --provider exec --max 8 \\
        --command /opt/millrace/processes.py /var/lib/millrace/pools/linux /usr/local/bin/millrace

The contract is in docs/guides/pools.md. In short: the last words say what to do (`add N`, `remove ID...`, `list`), standard
input is a JSON object with the details, exit status 0 means done, and the last line on standard error says why not. Every
call may come again. This needs Linux: processes are found in /proc, so there is no file that could be wrong about them.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

PATIENCE_S = 30  # for an agent to finish when it is asked to end


def running(folder):
    """Process ids by agent: those that were started with `--data FOLDER/ID/data`."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended meanwhile
        if "agent" not in words or "--data" not in words:
            continue
        data = words[words.index("--data") + 1]
        if os.path.dirname(os.path.dirname(data)) == folder:
            found[os.path.basename(os.path.dirname(data))] = int(pid)
    return found


def start(folder, millrace, order, agent):
    own = os.path.join(folder, agent["id"])
    os.makedirs(own, mode=0o700, exist_ok=True)
    words = [millrace, "agent", "--coordinator", order["coordinator"], "--name", agent["id"], "--pool", order["pool"]]
    words += ["--slots", str(order["slots"]), "--data", os.path.join(own, "data")]
    words += [word for name, value in order["labels"].items() for word in ("--label", f"{name}={value}")]
    words += ["--ephemeral"] if order["ephemeral"] else []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    # By the environment: everybody may read the arguments of a process.
    environment["MILLRACE_TOKEN"] = agent["token"]
    with open(os.path.join(own, "agent.log"), "ab") as log:
        subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def end(folder, ids):
    deadline = time.monotonic() + PATIENCE_S
    for sign in (signal.SIGTERM, signal.SIGKILL):
        while left := {id: pid for id, pid in running(folder).items() if id in ids}:
            for pid in left.values():
                try:
                    os.kill(pid, sign)
                except ProcessLookupError:
                    pass  # it has ended meanwhile
            if sign == signal.SIGKILL or time.monotonic() > deadline:
                break
            wait_for_end(left.values(), deadline)
    for id in ids:
        shutil.rmtree(os.path.join(folder, id), ignore_errors=True)


def wait_for_end(pids, deadline):
    while time.monotonic() < deadline and any(os.path.exists(f"/proc/{pid}") for pid in pids):
        time.sleep(0.05)


def main():
    folder, millrace, do, *words = sys.argv[1:]
    folder = os.path.realpath(folder)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    order = json.load(sys.stdin)
    if do == "add":
        there = running(folder)
        for agent in order["agents"]:
            if agent["id"] not in there:
                start(folder, millrace, order, agent)
    elif do == "remove":
        end(folder, words)
    elif do == "list":
        print(json.dumps({"agents": sorted(running(folder))}))
    else:
        sys.exit(f"cannot {do}: this knows add, remove and list")


if __name__ == "__main__":
    main()
