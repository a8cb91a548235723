import { describe, expect, it } from "vitest";
import { renderGraph, toDot } from "../../../shared/pipeline/graph.ts";
import { parsePipeline } from "../../../shared/pipeline/parse.ts";

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

describe("a drawn pipeline", () => {
  it("shows stages as they can start, and what each task waits for, uses and makes", () => {
    expect(renderGraph(pipeline)).toBe(`shop

build
├─ compile  → app
└─ pack     ← app (compile)  → package

verify  after build
├─ smoke  ← app (build/compile)  after unit
└─ unit

lint
└─ all
`);
  });

  it("is also a Graphviz digraph, with stages as clusters", () => {
    const dot = toDot(pipeline);
    expect(dot).toContain('digraph "shop" {');
    expect(dot).toContain('subgraph "cluster_verify" {');
    expect(dot).toContain('"build/compile" -> "verify/smoke" [label="app"];');
    expect(dot).toContain('"verify/unit" -> "verify/smoke";');
    expect(dot).toContain('"build/compile" -> "verify/smoke" [ltail="cluster_build", lhead="cluster_verify"];');
    expect(dot.split("{").length).toBe(dot.split("}").length);
  });
});
