import { describe, expect, test } from "vitest";
import { codeSpans, type MarkdownTable, markdownTables } from "./support/markdown.ts";
import { type SourceFile, sourceFiles } from "./support/source-files.ts";

const files = sourceFiles();

function textOf(path: string): string {
  const file = files.find((other: SourceFile) => other.path === path);
  if (file === undefined) throw new Error(`${path} is not there`);
  return file.text;
}

function tableOf(text: string, column: string): MarkdownTable {
  const table = markdownTables(text).find(({ columns }) => columns.includes(column));
  if (table === undefined) throw new Error(`no table with the column ${column}`);
  return table;
}

interface Manifest {
  readonly license: string;
  readonly scripts: Record<string, string>;
  readonly dependencies: Record<string, string>;
  readonly devDependencies: Record<string, string>;
}

const manifest = JSON.parse(textOf("package.json")) as Manifest;
const readme = textOf("README.md");

describe("the README", () => {
  test("has the two commands on its first screen", () => {
    const firstScreen = readme.split("\n").slice(0, 30).join("\n");
    expect(firstScreen).toContain("npm run demo");
    expect(firstScreen).toContain("npm test");
  });

  test("names every folder of the top level, and no other", () => {
    const named = tableOf(readme, "folder").rows.flatMap((row) => codeSpans(row["folder"] ?? ""));
    const present = new Set(
      files
        .map(({ path }) => path)
        .filter((path) => path.includes("/") && !path.startsWith("."))
        .map((path) => `${path.split("/")[0]}/`),
    );
    expect(named.toSorted()).toEqual([...present].toSorted());
  });

  test("marks each feature as works, partial or planned", () => {
    const states = tableOf(readme, "state").rows.map((row) => row["state"]);
    expect(states.length).toBeGreaterThan(10);
    expect(states.filter((state) => !["works", "partial", "planned"].includes(state ?? ""))).toEqual([]);
  });

  test("names the commands of the program, all of them", () => {
    const known = [...textOf("bin/commands.ts").matchAll(/name: "([a-z-]+)"/g)].map((match) => match[1] ?? "");
    const row = tableOf(readme, "state").rows.find(({ feature }) => feature?.startsWith("Command line"));
    expect(codeSpans(row?.["feature"] ?? "").toSorted()).toEqual(known.toSorted());
  });

  test("and the other documents call no npm script and no command that does not exist", () => {
    // Examples, and pipelines of other projects, call scripts of their own.
    const documents = files
      .filter(({ path }) => path.endsWith(".md") && !path.startsWith("examples/"))
      .map(({ text }) => text.replaceAll(/^```yaml$[\s\S]*?^```$/gm, ""));
    const scripts = documents.flatMap((text) => [...text.matchAll(/npm run ([a-z]+)/g)].map((match) => match[1] ?? ""));
    expect(scripts.filter((script) => manifest.scripts[script] === undefined)).toEqual([]);
    const commands = documents.flatMap((text) =>
      [...text.matchAll(/bin\/millrace ([a-z]+)/g)].map((match) => match[1] ?? ""),
    );
    const known = [...textOf("bin/commands.ts").matchAll(/name: "([a-z-]+)"/g)].map((match) => match[1] ?? "");
    expect(commands.filter((command) => !known.includes(command))).toEqual([]);
  });

  test("states the licence of package.json", () => {
    expect(readme).toContain(`[${manifest.license}](LICENSE)`);
    expect(textOf("LICENSE")).toContain("Apache License");
  });
});

describe("the documents", () => {
  test("docs/dependencies.md has exactly the dependencies of package.json", () => {
    const named = markdownTables(textOf("docs/dependencies.md")).flatMap(({ rows }) =>
      rows.map((row) => codeSpans(row["package"] ?? "")[0] ?? ""),
    );
    const declared = [...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies)];
    expect(named.toSorted()).toEqual(declared.toSorted());
  });

  test("versions in package.json are exact, for ranges install differently on every day", () => {
    const versions = Object.values({ ...manifest.dependencies, ...manifest.devDependencies });
    expect(
      versions.filter((version) => !/^(npm:@[\w-]+\/[\w-]+@)?\d+\.\d+\.\d+(-[a-z]+\.\d+)?$/.test(version)),
    ).toEqual([]);
  });

  test("decisions are numbered without holes, have their parts and are listed", () => {
    const decisions = files.filter(({ path }) => /^docs\/adr\/\d/.test(path));
    const list = textOf("docs/adr/README.md");
    decisions.forEach(({ path, text }, index) => {
      const number = String(index + 1).padStart(4, "0");
      const name = path.slice("docs/adr/".length);
      expect(name.slice(0, 5)).toBe(`${number}-`);
      expect(text.startsWith(`# ${number} `), `the title of ${name}`).toBe(true);
      for (const part of ["**Status:**", "**Decision.**", "**Why.**", "**Alternatives.**", "**Consequences.**"]) {
        expect(text, `${name} has no ${part}`).toContain(part);
      }
      expect(list).toContain(`(${name})`);
    });
    expect(decisions.length).toBeGreaterThan(10);
  });

  test("the API guide names every service that is declared", () => {
    const guide = textOf("docs/guides/api.md");
    const services = files
      .filter(({ path }) => path.endsWith(".proto"))
      .flatMap(({ text }) => {
        const name = /^package ([\w.]+);/m.exec(text)?.[1];
        return [...text.matchAll(/^service (\w+)/gm)].map((match) => `${name}.${match[1]}`);
      });
    expect(services.length).toBeGreaterThan(5);
    expect(services.filter((service) => !guide.includes(service))).toEqual([]);
  });

  test("the glossary has the wait causes and endings that the events know", () => {
    const glossary = textOf("docs/glossary.md");
    const values = [...textOf("proto/millrace/v1/event.proto").matchAll(/(?:WAIT_CAUSE|ENDING_KIND)_(\w+) = [1-9]/g)];
    const words = values.map((match) => (match[1] ?? "").toLowerCase().replaceAll("_", " "));
    expect(words.length).toBeGreaterThan(8);
    expect(words.filter((word) => !glossary.includes(word))).toEqual([]);
  });

  test("what users notice goes under Unreleased", () => {
    expect(textOf("CHANGELOG.md")).toMatch(/^## Unreleased$/m);
  });
});
