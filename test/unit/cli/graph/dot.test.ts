import { describe, expect, it } from "vitest";
import { toDot } from "../../../../cli/graph/dot.ts";
import { parsePipeline } from "../../../../shared/pipeline/parse.ts";

const { pipeline } = parsePipeline(
  `name: shop
stages:
  verify:
    needs: [build]
    tasks:
      smoke: { run: x, needs: [unit], use: [app] }
      unit: { run: x }
  build:
    tasks:
      compile: { run: x, outputs: { app: dist } }
      pack: { run: x, use: [app], outputs: { package: shop.tar } }
  lint: { tasks: { all: { run: x } } }
`,
  "millrace.yaml",
);
if (pipeline === undefined) throw new Error("it must parse");

describe("a pipeline", () => {
  it("is a Graphviz digraph, with stages as clusters", () => {
    const dot = toDot(pipeline);
    expect(dot).toContain('digraph "shop" {');
    expect(dot).toContain('subgraph "cluster_verify" {');
    expect(dot).toContain('"build/compile" -> "verify/smoke" [label="app"];');
    expect(dot).toContain('"verify/unit" -> "verify/smoke";');
    expect(dot).toContain('"build/compile" -> "verify/smoke" [ltail="cluster_build", lhead="cluster_verify"];');
    expect(dot.split("{").length).toBe(dot.split("}").length);
  });
});
