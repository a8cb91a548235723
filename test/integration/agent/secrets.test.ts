import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { connectNatsBus } from "../../../shared/bus/nats-bus.ts";
import { subjects } from "../../../shared/bus/subjects.ts";
import { readBlob } from "../../../shared/cas/read-blob.ts";
import { digestFromMessage } from "../../../shared/digest.ts";
import { warningsIn } from "../../../shared/output-warnings.ts";
import { exitOf } from "../../support/exit-of.ts";
import { bubblewrapWorks } from "../../support/machine.ts";
import { filesWithLeaks, leaksIn, processesWithLeaks, secretCorpus, tracesOf } from "../../support/secret-corpus.ts";
import { tempDir } from "../../support/temp-dir.ts";
import type { ActionSpec } from "./assignment.ts";
import { type FakeFarm, fakeFarm, startAgent } from "./farm.ts";

const corpus = secretCorpus();
const traces = Object.values(corpus).flatMap(tracesOf);
const none = () => false;

/** Prints each variable in every form that the tools of a machine have at hand. */
const printAll = Object.keys(corpus)
  .flatMap((name) => [
    `echo "${name}=$${name}"`,
    `printf %s "$${name}" | base64`,
    `printf %s "$${name}" | base64 -w 0; echo`,
    `printf 'x%sy' "$${name}" | base64 -w 64`,
    `printf 'xx%s' "$${name}" | base64 | tr '+/' '-_'`,
    `printf %s "$${name}" | od -An -v -tx1 | tr -d ' \\n'; echo`,
    `printf %s "$${name}" | od -An -v -tx1 | tr -d ' \\n' | fold -w 60; echo`,
  ])
  .join("\n");

/** Percent-encoded and as JSON, a byte a write. */
const printByNode = `for (const value of process.argv.slice(1).map((name) => process.env[name])) {
  for (const text of [encodeURIComponent(value), JSON.stringify({ value }), new URLSearchParams({ value }).toString()]) {
    for (const byte of Buffer.from(text + "\\n")) require("fs").writeSync(1, Buffer.of(byte));
  }
}`;

/** As a hint for a task that is to make the value itself. */
function backwards(value: string): string {
  return value.split("").reverse().join("");
}

async function finished(farm: FakeFarm, agent: string, id: string, spec: ActionSpec) {
  expect(await farm.assign(agent, id, spec)).toMatchObject({ accepted: true, refusal: "" });
  return await farm.report(id);
}

describe.each(["none", ...(bubblewrapWorks ? (["bubblewrap"] as const) : [])] as const)(
  "with the sandbox %s",
  (sandbox) => {
    test("nothing that a task prints gives a secret away, in its log or in the copy of it", async () => {
      const farm = await fakeFarm();
      const agent = await startAgent(farm, { sandbox });
      const script = `${printAll}\n"$NODE" -e '${printByNode}' ${Object.keys(corpus).join(" ")}\necho done`;
      const report = await finished(farm, agent.id, "exe_1", {
        command: ["sh", "-ec", script],
        environment: { NODE: process.execPath },
        secrets: corpus,
      });
      const { text } = farm.log("exe_1");
      expect(report.ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 0 });
      expect(text).toMatch(/^TOKEN=\*{21}\n\*+(==?)?\n/);
      expect(text).toContain("done\n");
      expect(leaksIn(Buffer.from(text), traces)).toEqual([]);
      const copy = Buffer.from(await readBlob(farm.cas, digestFromMessage(report.result?.stdoutDigest)));
      expect(copy.toString()).toBe(text);
      expect(filesWithLeaks(agent.data, traces, none)).toEqual([]);
      expect(leaksIn(Buffer.from(agent.complaints()), traces)).toEqual([]);
    });

    test("a file holds the value as it is, for the time of the task", async () => {
      const farm = await fakeFarm();
      const agent = await startAgent(farm, { sandbox });
      const value = Buffer.from([0, 1, 2, 253, 254, 255, 10]);
      const script =
        'echo "$KEY"; stat -c %a "$KEY"; od -An -tx1 "$KEY" | tr -d " "; ! echo x 2>/dev/null >"$KEY" || echo written';
      await finished(farm, agent.id, "exe_1", { command: ["sh", "-c", script], secrets: { "KEY!": value } });
      const [path = "", mode, hex] = farm.log("exe_1").text.split("\n");
      expect(mode).toBe("400");
      expect(hex).toBe("************0a"); // white space around a value is no part of its forms
      expect(existsSync(path)).toBe(false);
    });

    test("what a task names itself is masked from then on, in all forms, and warned about", async () => {
      const farm = await fakeFarm();
      const agent = await startAgent(farm, { sandbox });
      // The task makes it: what it is given is written backwards.
      const made = Array.from({ length: 20 }, (_, index) => `made-${index}-${"x".repeat(index)}-at/run+time`);
      const hints = made.map(backwards);
      const script = `
        forwards() { printf '%s\\n' "$1" | rev; }
        first=$(forwards ${hints[0]}); echo "before: $first"; echo "$first" >> "$MILLRACE_MASK"
        for value in ${hints.join(" ")}; do
          value=$(forwards "$value")
          echo "$value" >> "$MILLRACE_MASK"; echo "now: $value"; printf 'x%s' "$value" | base64 -w 0; echo
        done
        echo "token=$first" > conf; exit 3`;
      const report = await finished(farm, agent.id, "exe_1", { command: ["sh", "-ec", script], outputs: ["conf"] });
      expect(report.ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 3 });
      const traces = made.flatMap(tracesOf);
      const { text } = farm.log("exe_1");
      expect(text).toMatch(/^before: .{19}\nnow: \*{19}\n/);
      expect(leaksIn(Buffer.from(text.slice(text.indexOf("now"))), traces)).toEqual([]);
      expect(text).toContain("millrace: warning: the output conf contains the secret MILLRACE_MASK:1\n");
      const copy = Buffer.from(await readBlob(farm.cas, digestFromMessage(report.result?.stdoutDigest)));
      expect(leaksIn(copy, traces)).toEqual([]);
      expect(filesWithLeaks(agent.data, traces, (path) => path.startsWith("store/"))).toEqual([]);
    });

    test("no process has a secret among its arguments", async () => {
      const farm = await fakeFarm();
      const agent = await startAgent(farm, { sandbox });
      await farm.assign(agent.id, "exe_1", { command: ["sh", "-c", "echo ready; sleep 60"], secrets: corpus });
      await farm.until(() => farm.log("exe_1").text === "ready\n");
      expect(processesWithLeaks(traces)).toEqual([]);
      // It would be seen.
      const mine = `found-${process.pid}-among-arguments`;
      expect(processesWithLeaks([process.argv[0] ?? mine])).not.toEqual([]);
      await farm.cancel(agent.id, "exe_1");
      await farm.report("exe_1");
    });
  },
);

test("whoever listens on the bus sees no secret", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  const bus = await connectNatsBus({
    ...{ servers: [farm.nats.url], user: farm.nats.user, password: farm.nats.password },
    ...{ name: "listener", onError: () => undefined },
  });
  onTestFinished(() => bus.close());
  const heard: Buffer[] = [];
  const listen = (subject: string) => bus.subscribe(subject, ({ data }) => void heard.push(Buffer.from(data)));
  await Promise.all([listen(subjects.assign(agent.id)), listen(subjects.report(agent.id))]);
  await finished(farm, agent.id, "exe_1", { command: ["sh", "-c", printAll], secrets: corpus });
  await expect.poll(() => heard.length).toBeGreaterThanOrEqual(2); // the assignment and the report
  expect(heard.map((data) => leaksIn(data, traces))).toEqual(heard.map(() => []));
});

test("what is held back of a log comes when it turns out to be no secret", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm, { sandbox: "none" });
  const gate = join(tempDir(), "gate");
  execFileSync("mkfifo", [gate]);
  const { TOKEN = "" } = corpus;
  const [half, rest] = [TOKEN.slice(0, 10), TOKEN.slice(10)];
  // Each step is printed when what comes before it was seen, so each is read on its own.
  const steps = [`one ${half}`, `${rest} two ${half}`, `X three ${half.slice(0, 4)}`, "end"];
  const script = steps.map((_, index) => `cat "$GATE" >/dev/null; printf %s "$STEP_${index}"`).join("\n");
  const environment = Object.fromEntries(steps.map((step, index) => [`STEP_${index}`, step]));
  const spec = { command: ["sh", "-ec", script], environment: { ...environment, GATE: gate }, secrets: { TOKEN } };
  await farm.assign(agent.id, "exe_1", spec);
  const hidden = "*".repeat(TOKEN.length);
  const seen = [
    "one ",
    `one ${hidden} two `,
    `one ${hidden} two ${half}X three `,
    `one ${hidden} two ${half}X three ${half.slice(0, 4)}end`,
  ];
  for (const text of seen) {
    await writeFile(gate, "");
    await farm.until(() => farm.log("exe_1").text === text);
  }
  await farm.report("exe_1");
});

test("what a killed agent had not sent is masked by its next start", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  const script = `echo begin\n${printAll}\necho "$LINES" | head -c 25\necho; echo printed; sleep 60`;
  await farm.assign(agent.id, "exe_1", { command: ["sh", "-c", script], secrets: corpus });
  await farm.until(() => farm.logBytes("exe_1") > 0);
  await farm.stopGrpc();
  const spool = join(agent.data, "spool/exe_1.1");
  while (!readFileSync(spool, "utf8").endsWith("printed\n"));
  expect(statSync(spool).mode & 0o777).toBe(0o600);
  agent.child.kill("SIGKILL");
  await exitOf(agent.child);
  // Of what outlives the agent, only what the task itself has printed holds a secret, and no value is beside it.
  expect(filesWithLeaks(agent.data, traces, (path) => path === "spool/exe_1.1")).toEqual([]);

  await farm.startGrpc();
  const next = await startAgent(farm, { id: agent.id, data: agent.data });
  await farm.until(() => farm.log("exe_1").finished);
  const { text } = farm.log("exe_1");
  expect(text).toMatch(/^begin\nTOKEN=\*{21}\n/);
  expect(text).toContain("printed\n");
  expect(leaksIn(Buffer.from(text), traces)).toEqual([]);
  await farm.until(() => farm.heartbeats.some(({ session }) => session === farm.joined.at(-1)?.session));
  expect(filesWithLeaks(agent.data, traces, none)).toEqual([]);
  next.child.kill("SIGTERM");
  await exitOf(next.child);
  expect(readdirSync(join(agent.data, "sealed"))).toEqual([]);
});

test("what a task has named itself is masked by the next start of a killed agent, too", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm, { sandbox: "none" });
  const value = "made-at-run-time-0123456789";
  const script = `echo begin; read -r go < "$GATE"
    value=$(echo ${backwards(value)} | rev); echo "$value" >> "$MILLRACE_MASK"; echo "$value"; echo printed; sleep 60`;
  const gate = join(tempDir(), "gate");
  execFileSync("mkfifo", [gate]);
  await farm.assign(agent.id, "exe_1", { command: ["sh", "-c", script], environment: { GATE: gate } });
  await farm.until(() => farm.logBytes("exe_1") > 0);
  await farm.stopGrpc();
  await writeFile(gate, "\n");
  const spool = join(agent.data, "spool/exe_1.1");
  while (!readFileSync(spool, "utf8").endsWith("printed\n"));
  agent.child.kill("SIGKILL");
  await exitOf(agent.child);

  await farm.startGrpc();
  await startAgent(farm, { id: agent.id, data: agent.data });
  await farm.until(() => farm.log("exe_1").finished);
  expect(farm.log("exe_1").text).toBe(`begin\n${"*".repeat(value.length)}\nprinted\n`);
  await farm.until(() => farm.heartbeats.some(({ session }) => session === farm.joined.at(-1)?.session));
  expect(filesWithLeaks(agent.data, tracesOf(value), none)).toEqual([]);
});

test.each([
  ["too many values", 'seq -f "value-%g" 1001 >> "$MILLRACE_MASK"', "it has put more than 1000 values or 65536 bytes"],
  ["too much", 'head -c 70000 /dev/zero | tr "\\0" x >> "$MILLRACE_MASK"', "it has put more than 1000 values or"],
  [
    "its file removed",
    'rm "$MILLRACE_MASK"; echo hidden > "$MILLRACE_MASK"',
    "it has removed the file of MILLRACE_MASK",
  ],
])("a task that names what nobody can know is refused, and shows nothing: %s", async (_what, name, why) => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm, { sandbox: "none" });
  const { ending } = await finished(farm, agent.id, "exe_1", { command: ["sh", "-c", `${name}; echo hidden`] });
  expect(ending?.kind).toBe(EndingKind.REFUSED);
  expect(ending?.detail).toContain(why);
  expect(farm.log("exe_1").text).toBe("******\n");
  expect(readdirSync(join(agent.data, "masks"))).toEqual([]);
});

test("without the agent's key, output that was not sent is dropped and not shown", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  await farm.assign(agent.id, "exe_1", {
    command: ["sh", "-c", `echo begin; ${printAll}\necho printed; sleep 60`],
    secrets: corpus,
  });
  await farm.until(() => farm.logBytes("exe_1") > 0);
  await farm.stopGrpc();
  const stored = farm.log("exe_1").text;
  const spool = join(agent.data, "spool/exe_1.1");
  while (!readFileSync(spool, "utf8").endsWith("printed\n"));
  agent.child.kill("SIGKILL");
  await exitOf(agent.child);
  execFileSync("rm", [join(agent.data, "sealing.key")]);

  await farm.startGrpc();
  const next = await startAgent(farm, { id: agent.id, data: agent.data });
  await farm.until(() => farm.heartbeats.some(({ session }) => session === farm.joined.at(-1)?.session));
  expect(farm.log("exe_1").text).toBe(stored);
  expect(next.complaints()).toContain("is dropped, as its secrets cannot be masked");
  expect(filesWithLeaks(agent.data, traces, none)).toEqual([]);
});

test("a log that reaches its end in the midst of a secret does not show it", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  const { TOKEN = "" } = corpus;
  const command = ["sh", "-c", 'printf "last words: "; printf %s "$TOKEN" | head -c 15'];
  await finished(farm, agent.id, "exe_1", { command, secrets: { TOKEN } });
  expect(farm.log("exe_1").text).toBe(`last words: ${"*".repeat(15)}`);
});

test("outputs are left as they are, and the log warns of the secrets in them", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  const { TOKEN = "" } = corpus;
  const script =
    'mkdir -p dist; printf "token=%s" "$TOKEN" >dist/conf; echo ok >dist/ok; printf %s "$TOKEN" | base64 >"report.xml"; ln -s "$TOKEN" link; mkdir -p "named/${TOKEN%/*}"; echo ok >"named/$TOKEN"';
  const command = ["sh", "-ec", script];
  const report = await finished(farm, agent.id, "exe_1", {
    ...{ command, secrets: { TOKEN }, outputs: ["dist/conf", "dist/ok", "report.xml", "link", "named"] },
  });
  expect(await farm.output(report, "dist/conf")).toBe(`token=${TOKEN}`);
  expect(farm.log("exe_1").text.split("\n").sort()).toEqual([
    "",
    "millrace: warning: the output dist/conf contains the secret token",
    "millrace: warning: the output report.xml contains the secret token",
    `millrace: warning: the path of the output named/${"*".repeat(TOKEN.length)} contains the secret token`,
    "millrace: warning: the symlink link contains the secret token",
  ]);
  expect(report.result && warningsIn(report.result).toSorted()).toEqual([
    "the output dist/conf contains the secret token",
    "the output report.xml contains the secret token",
    `the path of the output named/${"*".repeat(TOKEN.length)} contains the secret token`,
    "the symlink link contains the secret token",
  ]);
});

test("a value that no variable can hold is refused, with what to do", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  const spec = { command: ["true"], secrets: { KEY: Buffer.from("a\0b-and-more") } };
  const { ending } = await finished(farm, agent.id, "exe_1", spec);
  expect(ending?.kind).toBe(EndingKind.REFUSED);
  expect(ending?.detail).toContain("the secret key holds a zero byte");
  expect(ending?.detail).toContain("file: true");
  expect(readdirSync(join(agent.data, "sealed"))).toEqual([]);
});

test("tasks that a task writes are not kept when a secret is in them, in any form", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  const { TOKEN = "" } = corpus;
  for (const [id, written] of Object.entries({ exe_1: "$TOKEN", exe_2: "$(printf %s $TOKEN | base64)" })) {
    const report = await finished(farm, agent.id, id, {
      command: ["sh", "-ec", `echo "tasks: { a: { run: echo ${written} } }" > tasks.yaml`],
      environment: { MILLRACE_GENERATE: "tasks.yaml" },
      outputs: ["tasks.yaml"],
      secrets: { TOKEN },
    });
    expect(report.ending?.kind).toBe(EndingKind.REFUSED);
    expect(report.ending?.detail).toBe(
      "the tasks that it wrote contain the secret token, and everybody would see it: let them have it by `secrets`",
    );
    expect(report.result?.outputFiles ?? []).toEqual([]);
  }
  expect(filesWithLeaks(agent.data, traces, none)).toEqual([]);
});

test("a variable that could be passed on as an argument alone is refused a secret", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  const { TOKEN = "" } = corpus;
  const { ending } = await finished(farm, agent.id, "exe_1", { command: ["true"], secrets: { UID: TOKEN } });
  expect(ending?.kind).toBe(EndingKind.REFUSED);
  expect(ending?.detail).toBe(
    "no secret can be in UID, a variable that shells set by themselves: give it another name",
  );
});

test("secrets that are sealed to another agent are not opened, and nothing runs", async () => {
  const farm = await fakeFarm();
  const [one, other] = [await startAgent(farm), await startAgent(farm)];
  const sealingKeys = farm.joined.map(({ sealingKey }) => Buffer.from(sealingKey).toString("hex"));
  expect(new Set(sealingKeys).size).toBe(2);
  // As if it came to the one what was meant for the other.
  const swapped = farm.joined.find(({ id }) => id === one.id);
  const meant = farm.joined.find(({ id }) => id === other.id);
  if (swapped === undefined || meant === undefined) throw new Error("they have not joined");
  swapped.sealingKey = meant.sealingKey;
  const { ending } = await finished(farm, one.id, "exe_1", { command: ["true"], secrets: { TOKEN: "npm_0123456789" } });
  expect(ending?.kind).toBe(EndingKind.INFRASTRUCTURE);
  expect(ending?.detail).toContain("are not sealed to this key");
  expect(readdirSync(one.data)).not.toContain("process-starts.log");
});
