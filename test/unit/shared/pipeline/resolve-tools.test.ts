import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parsePipeline } from "../../../../shared/pipeline/parse.ts";
import type { Task } from "../../../../shared/pipeline/pipeline.ts";
import { resolveTools, type ToolOffer } from "../../../../shared/pipeline/resolve-tools.ts";

function taskWith(line: string): Task {
  const text = `name: a\nstages:\n  s:\n    tasks:\n      t:\n        run: x\n        ${line}\n`;
  const { pipeline, problems } = parsePipeline(text, "millrace.yaml");
  const task = pipeline?.stages[0]?.tasks[0];
  if (task === undefined) throw new Error(JSON.stringify(problems));
  return task;
}

const offer = (tools: Record<string, string>, labels: Record<string, string> = {}): ToolOffer => ({
  labels,
  tools: Object.entries(tools).map(([name, version]) => ({ name, version, fingerprint: `${version}@${name}` })),
});

describe("the tools of a task", () => {
  it("are exact ones of a connected agent, by the beginning of their version", () => {
    const task = taskWith('tools: { node: "24", gcc: any }');
    const offers = [offer({ node: "241.0.1", gcc: "12.2.0" }), offer({ node: "24.21.0", gcc: "12.2.0" })];
    expect(resolveTools(task, offers)).toEqual({ fingerprints: { gcc: "12.2.0@gcc", node: "24.21.0@node" } });
  });

  it("are the newest where there is a choice, counted and not spelt", () => {
    const offers = ["24.9.0", "24.21.0", "24.3.9"].map((node) => offer({ node }));
    expect(resolveTools(taskWith("tools: { node: 24 }"), offers)).toEqual({ fingerprints: { node: "24.21.0@node" } });
  });

  it("come from an agent that has the labels of the task", () => {
    const offers = [offer({ node: "24.1.0" }, { pool: "big" }), offer({ node: "24.2.0" }, { pool: "small" })];
    const task = taskWith("tools: { node: 24 }\n        agents: { pool: big }");
    expect(resolveTools(task, offers)).toEqual({ fingerprints: { node: "24.1.0@node" } });
  });

  it("are missed with what there is instead, at the place in the file", () => {
    const offers = [offer({ node: "22.1.0", gcc: "12.2.0" }), offer({ node: "20.3.1" })];
    expect(resolveTools(taskWith('tools: { gcc: any, node: "24" }'), offers)).toEqual({
      problem: {
        ...{ line: 7, column: 28 },
        message: "no connected agent offers node 24",
        hint: "they have node 20.3.1, 22.1.0",
      },
    });
    expect(resolveTools(taskWith("tools: { zig: any }"), offers)).toMatchObject({
      problem: { hint: "they have gcc, node; others are announced with `millrace agent --tool`" },
    });
    expect(resolveTools(taskWith("tools: { node: 20, gcc: any }"), offers)).toMatchObject({
      problem: { message: "no single connected agent offers all of gcc, node 20" },
    });
    expect(resolveTools(taskWith("tools: { node: any }"), [])).toMatchObject({
      problem: { message: "no agent with the labels of this task is connected to offer node" },
    });
  });

  it("do not depend on the order in which agents are known, and are those of one agent", () => {
    const version = fc.constantFrom("1.2", "1.10.1", "2.0", "10.0");
    const offers = fc.array(
      fc
        .record({ a: version, b: version }, { requiredKeys: [] })
        .map((tools) => offer(tools as Record<string, string>)),
      { maxLength: 6 },
    );
    const task = taskWith('tools: { a: "1", b: any }');
    fc.assert(
      fc.property(offers, (some) => {
        const resolved = resolveTools(task, some);
        expect(resolveTools(task, some.toReversed())).toEqual(resolved);
        if ("problem" in resolved) return;
        const { a, b } = resolved.fingerprints;
        const has = (each: ToolOffer, mark: string | undefined) => each.tools.some((tool) => tool.fingerprint === mark);
        expect(some.some((each) => has(each, a) && has(each, b))).toBe(true);
        expect(a).toMatch(/^1\./);
      }),
    );
  });
});

describe("tools in a pipeline file", () => {
  it("come from the defaults too, and a task's own go first", () => {
    const text = `name: a
defaults: { tools: { node: "22", git: any } }
stages:
  s:
    tasks:
      t: { run: x, tools: { node: "24", g++: any } }
`;
    const { pipeline } = parsePipeline(text, "millrace.yaml");
    expect(pipeline?.stages[0]?.tasks[0]?.tools).toEqual([
      { name: "g++", version: "any", position: { line: 6, column: 41 } },
      { name: "git", version: "any", position: { line: 6, column: 7 } },
      { name: "node", version: "24", position: { line: 6, column: 29 } },
    ]);
  });

  it.each([
    ["{ node: latest }", '"node" is not a version: "latest"'],
    ["{ Node: any }", 'this key is not the name of a tool: "Node"'],
    ["{ node: any x }", '"node" is not a version: "any x"'],
  ])("are refused when they are %s", (value, message) => {
    const text = `name: a\nstages:\n  s:\n    tasks:\n      t: { run: x, tools: ${value} }\n`;
    expect(parsePipeline(text, "f").problems.map((problem) => problem.message)).toEqual([message]);
  });
});
