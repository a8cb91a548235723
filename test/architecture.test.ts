import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { importFindings, importRules, importsOf, layerOf } from "./support/import-rules.ts";
import { findingText, isScript, repositoryRoot, type SourceFile, sourceFiles } from "./support/source-files.ts";

const document = readFileSync(join(repositoryRoot, "docs/ARCHITECTURE.md"), "utf8");

describe("the repository", () => {
  const files = sourceFiles();
  const rules = importRules(document);

  test("has no import that breaks the table in docs/ARCHITECTURE.md, no cycle and no folder without a row", () => {
    expect(importFindings(files, rules).map(findingText)).toEqual([]);
  });

  test("was really read: the files, their layers and their imports are there", () => {
    expect(files.filter(isScript).length).toBeGreaterThan(20);
    for (const folder of ["proto", "shared", "coordinator/store", "coordinator/farm", "agent", "cli"]) {
      expect(rules.layers.some((layer) => layer.patterns.includes(`${folder}/`))).toBe(true);
    }
    const eventStore = files.find((file) => file.path === "coordinator/store/event-store.ts");
    expect(eventStore && importsOf(eventStore).length).toBeGreaterThan(0);
  });

  test("every file and folder that the layer table names exists", () => {
    const named = rules.layers.flatMap((layer) => layer.patterns);
    const missing = named.filter((pattern) => !files.some((file) => layerPatternHolds(pattern, file.path)));
    expect(missing).toEqual([]);
  });
});

describe("the checker", () => {
  const rules = importRules(`
| layer | folder | may import |
|---|---|---|
| ground | \`shared/\` | nothing |
| ports | \`farm/port.ts\` | \`shared/\` |
| farm | \`farm/\` | \`farm/port.ts\`, \`shared/\` |
| faces | \`api/\` | \`farm/port.ts\`, \`shared/\` |
| wiring | \`*.ts\`, \`top/*.ts\` | \`farm/\`, \`api/\` |
| proof | \`test/\` | anything |

| library | known only by |
|---|---|
| \`sqlite\` | \`shared/\` |
`);

  function findings(sources: Record<string, string>): string[] {
    const files: SourceFile[] = Object.entries(sources).map(([path, text]) => ({ path, text }));
    return importFindings(files, rules).map(findingText);
  }

  const port = { "farm/port.ts": "export interface P { x: 1 }", "farm/real.ts": "export const r = 1;" };

  test("lets a layer import itself and what its row names", () => {
    expect(
      findings({
        ...port,
        "farm/other.ts": `import { r } from "./real.ts";`,
        "api/face.ts": `import type { P } from "../farm/port.ts";`,
      }),
    ).toEqual([]);
  });

  test.each([
    ["an import", `import { r } from "../farm/real.ts";`],
    ["a type import", `import type { R } from "../farm/real.ts";`],
    ["an import for its effects", `import "../farm/real.ts";`],
    ["a re-export", `export { r } from "../farm/real.ts";`],
    ["a re-export of everything", `export * from "../farm/real.ts";`],
    ["a dynamic import", `const late = await import("../farm/real.ts");`],
    ["an import inside a type", `type R = import("../farm/real.ts").R;`],
    ["a worker's file", `new Worker(new URL("../farm/real.ts", import.meta.url));`],
    ["a template without holes", "await import(`../farm/real.ts`);"],
  ])("refuses %s across the border, with file and line", (_, text) => {
    expect(findings({ ...port, "api/face.ts": `// first line\n${text}` })).toEqual([
      "api/face.ts:2: faces may not import farm/real.ts (farm); it may import farm/port.ts, shared/",
    ]);
  });

  test("is not misled by comments and strings", () => {
    const text = `// import "../farm/real.ts"\nconst s = 'import "../farm/real.ts"';`;
    expect(findings({ ...port, "api/face.ts": text })).toEqual([]);
  });

  test("refuses an import that it cannot read", () => {
    expect(findings({ "shared/a.ts": "await import(name);" })).toEqual([
      "shared/a.ts:1: imports a computed name, which no rule can check: write it out",
    ]);
  });

  test("refuses an import of a file that is not there", () => {
    expect(findings({ "shared/a.ts": `import "./gone.ts";` })).toEqual([
      "shared/a.ts:1: imports shared/gone.ts, which does not exist",
    ]);
  });

  test("finds a cycle through several files", () => {
    expect(
      findings({
        "shared/a.ts": `import "./b.ts";`,
        "shared/b.ts": `\nimport type { C } from "./c.ts";`,
        "shared/c.ts": `import "./a.ts";`,
      }),
    ).toEqual(["shared/c.ts:1: closes an import cycle: shared/a.ts -> shared/b.ts -> shared/c.ts -> shared/a.ts"]);
  });

  test("finds a folder that no row names", () => {
    expect(findings({ "helpers/a.ts": "" })).toEqual([
      "helpers/a.ts:1: the folder helpers/ is in no row of the table in docs/ARCHITECTURE.md: add it, with its reason",
    ]);
  });

  test("keeps a library in its place, except in proofs", () => {
    const text = `import { open } from "sqlite/open";`;
    expect(findings({ "shared/db.ts": text, "test/db.ts": text, "api/db.ts": text })).toEqual([
      "api/db.ts:1: imports sqlite/open, which only shared/ may know",
    ]);
  });

  test("gives a file to the narrowest pattern", () => {
    const nameOf = (path: string) => layerOf(path, rules.layers)?.name;
    expect(nameOf("farm/port.ts")).toBe("ports");
    expect(nameOf("farm/deep/port.ts")).toBe("farm");
    expect(nameOf("top/wiring.ts")).toBe("wiring");
    expect(nameOf("settings.ts")).toBe("wiring");
    expect(nameOf("top/deep/wiring.ts")).toBeUndefined();
  });

  test("refuses a document without the table, and a row that names a folder which no row has", () => {
    expect(() => importRules("# nothing here")).toThrow("no table");
    expect(() => importRules("| folder | may import |\n|---|---|\n| `a/` | `b/` |")).toThrow("b/");
  });
});

function layerPatternHolds(pattern: string, path: string): boolean {
  if (pattern.endsWith("*.ts")) return path.startsWith(pattern.slice(0, -"*.ts".length));
  return pattern.endsWith("/") ? path.startsWith(pattern) : path === pattern;
}
