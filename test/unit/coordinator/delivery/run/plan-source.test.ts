import { create, type MessageInitShape } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { keptPlans } from "../../../../../coordinator/delivery/run/kept-plans.ts";
import { type Evaluate, planSource } from "../../../../../coordinator/delivery/run/plan-source.ts";
import { GitSourceSchema } from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { RunRequestSchema } from "../../../../../proto/gen/millrace/v1/run_pb.ts";
import type { Blob } from "../../../../../shared/cas/cas.ts";
import { memoryCas } from "../../../../../shared/cas/memory-cas.ts";
import { type Digest, digestFromMessage } from "../../../../../shared/digest.ts";
import { from } from "../../../../../shared/errors.ts";
import { buildTree } from "../../../../../shared/merkle/build-tree.ts";
import type { ToolOffer } from "../../../../../shared/pipeline/resolve-tools.ts";
import { textBlob } from "../../../../support/blobs.ts";

const { signal } = new AbortController();
const pipeline = `
name: p
stages:
  build: { tasks: { a: { run: make a, inputs: ["src/"] }, b: { run: make b, tools: { node: "24" } } } }
  test: { needs: [build], tasks: { t: { run: test, inputs: ["src/", "!src/x"] } } }
`;

/** A tree with its blobs, as a client sends it. */
function sourceOf(files: Readonly<Record<string, string>>): { root: Digest; blobs: Blob[] } {
  const blobs = Object.values(files).map(textBlob);
  const tree = buildTree(
    Object.keys(files).map((path, index) => {
      return { path, node: { kind: "file", digest: blobs[index]?.digest ?? textBlob("").digest, executable: false } };
    }),
  );
  return { root: tree.root, blobs: [...blobs, ...tree.directories.values()] };
}

const source = sourceOf({ "millrace.yaml": pipeline, "src/x": "x", "src/y": "y" });
const node = (version: string): ToolOffer => ({ labels: {}, tools: [{ name: "node", version, fingerprint: version }] });

interface Asked {
  readonly offers?: readonly ToolOffer[];
  readonly stages?: readonly string[];
  readonly params?: Record<string, string>;
  readonly git?: MessageInitShape<typeof GitSourceSchema>;
  readonly pipelinePath?: string;
}

/** A coordinator's part of a submit: planned, and the plan's blobs stored. */
function planner(kept = keptPlans(1_000)) {
  const cas = memoryCas();
  let reads = 0;
  const run = { run: "echo", inputs: ["src/"] };
  const evaluated: string[] = [];
  const counting: typeof cas = {
    ...cas,
    readMany(digests, aborted) {
      reads += 1;
      return cas.readMany(digests, aborted);
    },
  };
  return {
    cas,
    evaluated,
    reads: () => reads,
    async plan(root: Digest, { offers = [node("24.1")], stages = [], git, ...request }: Asked = {}) {
      const evaluate: Evaluate = async (file) => {
        evaluated.push(file);
        const gave = textBlob(
          JSON.stringify({ name: "p", stages: { s: { tasks: { [`t${evaluated.length}`]: run } } } }),
        );
        await cas.writeMany([gave]);
        return { text: Buffer.from(gave.data).toString(), digest: gave.digest };
      };
      const deps = { cas: counting, offers: () => offers, kept, git: git && create(GitSourceSchema, git), evaluate };
      const { blobs, ...plan } = await planSource(
        deps,
        create(RunRequestSchema, { stages: [...stages], ...request }),
        root,
        signal,
      );
      await cas.writeMany(blobs, signal);
      return plan;
    },
  };
}

test("an unchanged source is planned once, and its tree is read once", async () => {
  const { cas, plan, reads } = planner();
  await cas.writeMany(source.blobs, signal);
  const first = await plan(source.root);
  expect(first.tasks.map(({ name }) => name)).toEqual(["a", "b", "t"]);
  const readsOfFirst = reads();
  expect(await plan(source.root)).toEqual(first);
  expect(reads()).toBe(readsOfFirst);
});

test("a plan that was kept is refused as a new one is when a file of its source is gone", async () => {
  const { cas, plan } = planner();
  await cas.writeMany(source.blobs, signal);
  const first = await plan(source.root);
  for (const { digest } of source.blobs) {
    await cas.quarantine(digest);
    const refusal = await plan(source.root).then(() => undefined, from);
    expect(refusal?.code).toBe("failed_precondition");
    expect(refusal?.message).toContain(digest.hash);
    await cas.writeMany(source.blobs, signal);
    expect(await plan(source.root)).toEqual(first);
  }
});

test("a plan whose Command is gone from the store is made anew, with the Command", async () => {
  const { cas, plan } = planner();
  await cas.writeMany(source.blobs, signal);
  const first = await plan(source.root);
  const command = digestFromMessage(first.tasks[0]?.commandDigest);
  await cas.quarantine(command);
  expect(await plan(source.root)).toEqual(first);
  expect(await cas.findMissing([command], signal)).toEqual([]);
});

test("keeping plans changes no plan and no refusal", async () => {
  const other = sourceOf({ "millrace.yaml": pipeline.replace("make a", "make c"), "src/x": "x", "src/y": "y" });
  const broken = sourceOf({ "millrace.yaml": pipeline.replace("run: test", "ran: test"), "src/x": "x" });
  const empty = sourceOf({ "src/x": "x" });
  const step = fc.record({
    of: fc.constantFrom(source, source, other, broken, empty),
    offers: fc.constantFrom([node("24.1")], [node("24.1"), node("24.2")], []),
    stages: fc.constantFrom([], ["build"], ["none"]),
    lose: fc.option(fc.nat()),
  });
  const said = (planned: Promise<unknown>) =>
    planned.catch((error: unknown) => ({ code: from(error).code, message: from(error).message }));
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const keeping = planner(keptPlans(40));
      const forgetful = planner(keptPlans(0));
      for (const { of, offers, stages, lose } of steps) {
        for (const { cas } of [keeping, forgetful]) {
          await cas.writeMany(of.blobs, signal);
          const lost = lose === null ? undefined : of.blobs[lose % of.blobs.length];
          if (lost !== undefined) await cas.quarantine(lost.digest);
        }
        const expected = await said(forgetful.plan(of.root, { offers, stages }));
        expect(await said(keeping.plan(of.root, { offers, stages }))).toEqual(expected);
      }
    }),
  );
});

const asking = sourceOf({
  ".millrace/nightly.yaml": `
name: nightly
include: [ci/common.yaml]
stages:
  s:
    tasks:
      t: { run: "make \${{ params.level }}", when: "branch == 'main'" }
      d: { run: x, changes: ["docs/**"] }
      r: { run: x, when: "tag == 'v1'" }
`,
  "ci/common.yaml": "params: { level: { options: [quick, full], default: quick } }\n",
});

test("a plan follows from parameters and from what git says, and is kept for those alone", async () => {
  const { cas, plan } = planner();
  await cas.writeMany(asking.blobs, signal);
  const pipelinePath = "nightly";
  const skipped = async (asked: Asked) => {
    const { tasks, params } = await plan(asking.root, { pipelinePath, ...asked });
    return [params.level, ...tasks.map(({ conditionUnmet }) => conditionUnmet)];
  };
  const branchFalse = "branch == 'main' is false";
  const tagFalse = "tag == 'v1' is false";
  const docs = "nothing that changed matches docs/**";
  const commit = "c".repeat(40);
  expect(await skipped({})).toEqual(["quick", branchFalse, "", tagFalse]);
  expect(await skipped({ params: { level: "full" } })).toEqual(["full", branchFalse, "", tagFalse]);
  const main = { branch: "main", ref: "main", commit, changedPaths: ["src/a"] };
  expect(await skipped({ git: main })).toEqual(["quick", "", "", tagFalse]);
  expect(await skipped({ git: { ...main, changedPathsKnown: true } })).toEqual(["quick", "", docs, tagFalse]);
  expect(await skipped({ git: { ref: "refs/tags/v1", commit } })).toEqual(["quick", branchFalse, "", ""]);
  expect(await skipped({ git: { ref: commit, commit } })).toEqual(["quick", branchFalse, "", tagFalse]);
  expect(await skipped({})).toEqual(["quick", branchFalse, "", tagFalse]);
  await expect(plan(asking.root, { pipelinePath, params: { lvel: "full" } })).rejects.toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining('ci/common.yaml:1:1: there is no parameter "lvel"'),
  });
});

test("a program is evaluated once for a plan that is kept, which rests on what it gave, too", async () => {
  const program = sourceOf({ "millrace.ts": "export default {};", ".millrace/n.ts": "", "src/x": "x" });
  const { cas, evaluated, plan } = planner();
  await cas.writeMany(program.blobs, signal);
  const first = await plan(program.root);
  expect(first).toMatchObject({ pipelinePath: "millrace.ts", tasks: [{ name: "t1" }] });
  expect(await plan(program.root)).toEqual(first);
  expect(await plan(program.root, { pipelinePath: "n" })).toMatchObject({ pipelinePath: ".millrace/n.ts" });
  expect(evaluated).toEqual(["millrace.ts", ".millrace/n.ts"]);
  if (first.evaluated === undefined) throw new Error("the plan does not say what it was planned from");
  await cas.quarantine(first.evaluated);
  await plan(program.root);
  expect(evaluated).toEqual(["millrace.ts", ".millrace/n.ts", "millrace.ts"]);
});

test("which file is meant must be clear", async () => {
  const both = sourceOf({ "millrace.ts": "", "millrace.yaml": pipeline, "src/x": "x", "src/y": "y" });
  const { cas, plan } = planner();
  await cas.writeMany(both.blobs, signal);
  await expect(plan(both.root)).rejects.toMatchObject({
    ...{ code: "invalid_argument", message: expect.stringContaining("there are both millrace.yaml and millrace.ts") },
  });
  expect((await plan(both.root, { pipelinePath: "millrace.yaml" })).tasks).toHaveLength(3);
  await expect(plan(both.root, { pipelinePath: "no" })).rejects.toThrow(
    "the source has no file .millrace/no.yaml or .millrace/no.ts",
  );
});
