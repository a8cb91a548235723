import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { submitSource } from "../../../cli/submit-source.ts";
import { digestToMessage } from "../../../shared/digest.ts";
import { limits } from "../../../shared/limits.ts";
import { buildTree } from "../../../shared/merkle/build-tree.ts";
import { openStatCache } from "../../../shared/stat-cache/sqlite-stat-cache.ts";
import { textBlob } from "../../support/blobs.ts";
import { failure } from "../../support/codes.ts";
import { type Clients, startTestCoordinator } from "../../support/coordinator.ts";
import { tempDir } from "../../support/temp-dir.ts";

const pipeline = "name: p\nstages: { s: { tasks: { t: { run: echo hi } } } }\n";

/** A client that counts the digests it asks about. */
function counting(clients: Clients) {
  let asked = 0;
  const transport: typeof clients.transport = {
    ...clients.transport,
    unary(...call: Parameters<Transport["unary"]>) {
      const message: object = call[4];
      if ("blobDigests" in message && Array.isArray(message.blobDigests)) asked += message.blobDigests.length;
      return clients.transport.unary(...call);
    },
  } as typeof clients.transport;
  return {
    connection: { transport, runs: clients.runs },
    asked() {
      const before = asked;
      asked = 0;
      return before;
    },
  };
}

test("a source is asked about where it has changed, and in full where the coordinator lacks something", async () => {
  const dir = tempDir();
  mkdirSync(join(dir, "src"));
  writeFileSync(join(dir, "millrace.yaml"), pipeline);
  for (let index = 0; index < 50; index++) writeFileSync(join(dir, "src", String(index)), `file ${index}`);
  const problems: string[] = [];
  const sent: number[] = [];
  const options = {
    dir,
    signal: new AbortController().signal,
    onUploaded: ({ blobs }: { blobs: number }) => void sent.push(blobs),
  };
  const folder = tempDir();
  const submit = async (connection: Parameters<typeof submitSource>[0], idempotencyKey: string) => {
    const startedMs = Date.now() + 60_000; // all that was written above is settled
    const onProblem = ({ message }: Error) => void problems.push(message);
    const statCache = openStatCache({ folder, source: dir, startedMs, onProblem });
    const run = { pipelinePath: "millrace.yaml", idempotencyKey };
    const name = await submitSource(connection, { ...options, statCache, run });
    await (await statCache).close();
    return name;
  };

  const first = counting((await startTestCoordinator()).as("admin"));
  expect(await submit(first.connection, "1")).toBe("run_1");
  expect(first.asked()).toBe(2 + 51);
  writeFileSync(join(dir, "src/7"), "changed");
  expect(await submit(first.connection, "2")).toBe("run_2");
  expect(first.asked()).toBe(2 + 1);
  expect(sent).toEqual([2 + 51, 2 + 1]);

  const second = counting((await startTestCoordinator()).as("admin"));
  expect(await submit(second.connection, "3")).toBe("run_1");
  expect(second.asked()).toBe(2 + 51); // after the refusal
  expect(sent.slice(2)).toEqual([0, 2 + 51]);
  expect(await submit(second.connection, "4")).toBe("run_2");
  expect(second.asked()).toBe(0);
  expect(problems).toEqual([]);
});

test("what is refused for another reason than files that are not there is not sent again", async () => {
  const dir = tempDir();
  writeFileSync(join(dir, "millrace.yaml"), pipeline);
  const { transport, runs } = (await startTestCoordinator()).as("admin");
  let asked = 0;
  const refusing: typeof runs = {
    ...runs,
    submitRun: () => {
      asked += 1;
      return Promise.reject(new ConnectError("agents failed too often", Code.FailedPrecondition));
    },
  };
  const { signal } = new AbortController();
  const onProblem = (error: Error) => expect.unreachable(error.message);
  const statCache = openStatCache({ folder: tempDir(), source: dir, startedMs: Date.now(), onProblem });
  const submitted = submitSource({ transport, runs: refusing }, { dir, run: {}, signal, statCache });
  await expect(submitted).rejects.toThrow("agents failed too often");
  await (await statCache).close();
  expect(asked).toBe(1);
});

test("a run of a source that lacks files is refused, naming some of them", async () => {
  const { cas, runs } = (await startTestCoordinator()).as("admin");
  const file = (path: string, text: string) =>
    ({ path, node: { kind: "file", digest: textBlob(text).digest, executable: false } }) as const;
  const absent = Array.from({ length: 200 }, (_, index) => file(`absent/${index}`, `absent ${index}`));
  const tree = buildTree([file("millrace.yaml", pipeline), ...absent]);
  await cas.writeMany([...tree.directories.values(), textBlob(pipeline)]);
  const refused = await failure("failed_precondition", () =>
    runs.submitRun({ run: { pipelinePath: "millrace.yaml", idempotencyKey: "k" }, source: digestToMessage(tree.root) }),
  );
  expect(refused.message).toMatch(
    new RegExp(`reading the source: not in the store: .* and ${limits.missingNamed - 5} more`),
  );
  expect((await runs.listRuns({})).runs).toEqual([]);
});
