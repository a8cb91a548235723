import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { digestFromMessage, digestKey, digestOf } from "../../../../shared/digest.ts";
import type { TreeEntry } from "../../../../shared/merkle/tree-entry.ts";
import { actionFor } from "../../../../shared/pipeline/action.ts";
import { formatProblem } from "../../../../shared/pipeline/format-problem.ts";
import { parsePipeline } from "../../../../shared/pipeline/parse.ts";
import { planRun } from "../../../../shared/pipeline/plan.ts";

const root = join(import.meta.dirname, "../../../..");
const shop = join(root, "examples/shop");

function shopFiles(): Map<string, Buffer> {
  const paths = readdirSync(shop, { recursive: true, encoding: "utf8" }).filter(
    (path) => !/^(dist|out)(\/|$)/.test(path) && statSync(join(shop, path)).isFile(),
  );
  return new Map(paths.map((path) => [relative("", path), readFileSync(join(shop, path))]));
}

/** Tasks of the shop whose own inputs or commands differ when one file does. What uses their artifacts follows. */
function changedBy(path: string): string[] {
  const before = shopFiles();
  const content = before.get(path);
  if (content === undefined) throw new Error(`examples/shop has no ${path}`);
  const after = new Map(before).set(path, Buffer.concat([content, Buffer.from("\n")]));
  const [old, changed] = [actions(before), actions(after)];
  return [...old.keys()].filter((task) => old.get(task) !== changed.get(task));
}

function actions(files: ReadonlyMap<string, Buffer>): Map<string, string> {
  const source = [...files].map(([path, data]): TreeEntry => {
    return { path, node: { kind: "file", digest: digestOf(data), executable: false } };
  });
  const { pipeline, problems } = parsePipeline(files.get("millrace.yaml")?.toString() ?? "", "millrace.yaml");
  if (pipeline === undefined) throw new Error(problems.map(formatProblem).join("\n"));
  const plan = planRun({ pipeline, source, offers: [], stages: [], tasks: [] });
  expect(plan.problems).toEqual([]);
  return new Map(
    plan.tasks.map((task) => [
      `${task.stage}/${task.name}`,
      digestKey(actionFor(task, digestFromMessage(task.inputRootDigest)).digest),
    ]),
  );
}

describe("the example shop", () => {
  it.each([
    ["README.md", []],
    ["millrace.yaml", []],
    ["test/unit/cart.test.js", ["verify/unit"]],
    ["test/integration/shop.test.js", ["verify/integration"]],
    ["tools/pack.js", ["package/archive"]],
    ["tools/build.js", ["build/bundle"]],
    ["src/cart.js", ["build/bundle", "verify/unit"]],
  ])("runs, after a change of %s, exactly what depends on it", (path, tasks) => {
    expect(changedBy(path)).toEqual(tasks);
  });
});

describe("the shop's release", () => {
  it("builds and verifies as every run does, and deploys what was verified", () => {
    const { pipeline, problems } = parsePipeline(readFileSync(join(shop, "release.yaml"), "utf8"), "release.yaml");
    expect(problems).toEqual([]);
    const deploy = pipeline?.stages.at(-1)?.tasks[0];
    expect(deploy?.use).toMatchObject([{ artifact: "app", task: "build/bundle" }]);
    const usual = parsePipeline(readFileSync(join(shop, "millrace.yaml"), "utf8"), "millrace.yaml").pipeline;
    expect(pipeline?.stages[0]?.tasks[0]?.run).toBe(usual?.stages[0]?.tasks[0]?.run);
  });

  it("and the example in the guide to deployments are right", () => {
    const guide = readFileSync(join(root, "docs/guides/deployments.md"), "utf8");
    const [, example = ""] = /```yaml\n(.*?)```/s.exec(guide) ?? [];
    expect(parsePipeline(example, "guide").problems).toEqual([]);
    expect(parsePipeline(example, "guide").pipeline?.stages.at(-1)?.tasks[0]?.deployment).toBeDefined();
  });
});

describe("the guide to the pipeline language", () => {
  const guide = readFileSync(join(root, "docs/guides/pipeline-language.md"), "utf8");

  it("shows an example that is right", () => {
    const examples = [...guide.matchAll(/```yaml\n(.*?)```/gs)].map(([, text = ""]) => text);
    expect(examples.length).toBeGreaterThan(0);
    for (const text of examples) expect(parsePipeline(text, "guide").problems.map(formatProblem), text).toEqual([]);
  });

  it("calls everything not yet supported that the parser calls so", () => {
    const later = [...(guide.split("## Not yet")[1] ?? "").matchAll(/`([a-z_]+)`/g)].map(([, key = ""]) => key);
    expect(later.length).toBeGreaterThan(5);
    for (const key of later) {
      const inPipeline = `${key}: x\nname: a\nstages: {}\n`;
      const inStage = `name: a\nstages: { s: { ${key}: x } }\n`;
      const inTask = `name: a\nstages: { s: { tasks: { t: { run: x, ${key}: x } } } }\n`;
      const messages = [inPipeline, inStage, inTask].flatMap((text) =>
        parsePipeline(text, "guide").problems.map((problem) => problem.message),
      );
      expect(messages).toContain(`"${key}" is not supported yet`);
    }
  });
});
