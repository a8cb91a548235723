import { dirname, join } from "node:path/posix";
import { codeSpans, markdownTables } from "./markdown.ts";
import { type Finding, isScript, lineAt, type SourceFile } from "./source-files.ts";
import { childOf, childrenOf, parseSource, type SyntaxNode, textOf } from "./syntax.ts";

/** One row of the table in docs/ARCHITECTURE.md. */
export interface Layer {
  readonly name: string;
  /** `folder/`, `folder/*.ts` (the files directly in it) or a file. The narrowest pattern decides about a file. */
  readonly patterns: readonly string[];
  /** Patterns of other rows, or "anything". A layer may always import itself. */
  readonly mayImport: readonly string[] | "anything";
}

/** A library that one place hides from all others. */
export interface LibraryRule {
  readonly library: string;
  /** Patterns of the files that may import it. */
  readonly knownBy: readonly string[];
}

/** All that docs/ARCHITECTURE.md says about imports. */
export interface ImportRules {
  readonly layers: readonly Layer[];
  readonly libraries: readonly LibraryRule[];
}

/** An import as it stands in a file. */
export interface Import {
  readonly line: number;
  /** What is imported; undefined when it is computed and nobody can say. */
  readonly specifier: string | undefined;
}

/**
 * Reads the tables with the columns `folder` and `may import`, and `library` and `known only by`.
 * Throws when there is no such table or when a row names what no row has.
 */
export function importRules(markdown: string): ImportRules {
  const tables = markdownTables(markdown);
  const layerTable = tables.find((table) => table.columns.includes("folder") && table.columns.includes("may import"));
  if (layerTable === undefined) throw new Error("no table with the columns `folder` and `may import`");
  const layers = layerTable.rows.map((row): Layer => {
    const mayImport = row["may import"] ?? "";
    return {
      name: row["layer"] ?? "",
      patterns: codeSpans(row["folder"] ?? ""),
      mayImport: mayImport === "anything" ? mayImport : codeSpans(mayImport),
    };
  });
  const known = new Set(layers.flatMap((layer) => layer.patterns));
  for (const layer of layers) {
    if (layer.mayImport === "anything") continue;
    const unknown = layer.mayImport.find((pattern) => !known.has(pattern));
    if (unknown !== undefined) throw new Error(`layer ${layer.name} may import ${unknown}, which is no layer's folder`);
  }
  const libraryTable = tables.find((table) => table.columns.includes("library"));
  const libraries = (libraryTable?.rows ?? []).flatMap((row) =>
    codeSpans(row["library"] ?? "").map((library) => ({ library, knownBy: codeSpans(row["known only by"] ?? "") })),
  );
  return { layers, libraries };
}

/** Static and dynamic imports, re-exports, type imports, and files named by URL (`new Worker(new URL("./x.ts", …))`). */
export function importsOf(file: SourceFile): Import[] {
  const imports: Import[] = [];
  for (const { node } of parseSource(file).nodes) {
    const source = importSource(node);
    if (source === undefined) continue;
    const specifier = source.type === "TemplateLiteral" ? plainTemplate(source) : textOf(source, "value");
    if (node.type === "NewExpression" && !/^\.{1,2}\/.*\.(ts|mjs|js)$/.test(specifier ?? "")) continue;
    imports.push({ line: lineAt(file.text, node.start), specifier });
  }
  return imports;
}

function importSource(node: SyntaxNode): SyntaxNode | undefined {
  switch (node.type) {
    case "ImportDeclaration":
    case "ExportNamedDeclaration":
    case "ExportAllDeclaration":
    case "ImportExpression":
    case "TSImportType":
      return childOf(node, "source");
    case "NewExpression":
      return textOf(childOf(node, "callee"), "name") === "URL" ? childrenOf(node, "arguments")[0] : undefined;
    default:
      return undefined;
  }
}

function plainTemplate(node: SyntaxNode): string | undefined {
  if (childrenOf(node, "expressions").length > 0) return undefined;
  const value = childrenOf(node, "quasis")[0]?.["value"];
  return typeof value === "object" && value !== null && "cooked" in value && typeof value.cooked === "string"
    ? value.cooked
    : undefined;
}

/**
 * Everything in `files` that breaks the rules: imports across layers, imports of what is not there, cycles between
 * files, libraries known in the wrong place, and folders that no layer has.
 */
export function importFindings(files: readonly SourceFile[], rules: ImportRules): Finding[] {
  const findings: Finding[] = [];
  const paths = new Set(files.map((file) => file.path));
  const edges = new Map<string, { target: string; line: number }[]>();
  for (const file of files.filter(isScript)) {
    const outgoing: { target: string; line: number }[] = [];
    edges.set(file.path, outgoing);
    for (const { line, specifier } of importsOf(file)) {
      const at = { path: file.path, line };
      if (specifier === undefined) {
        findings.push({ ...at, message: "imports a computed name, which no rule can check: write it out" });
      } else if (!specifier.startsWith(".")) {
        findings.push(...libraryFindings(specifier, file.path, rules).map((message) => ({ ...at, message })));
      } else {
        const target = join(dirname(file.path), specifier);
        const free = layerOf(file.path, rules.layers)?.mayImport === "anything";
        if (!paths.has(target) && !free) findings.push({ ...at, message: `imports ${target}, which does not exist` });
        outgoing.push({ target, line });
        const message = layerProblem(file.path, target, rules.layers);
        if (message !== undefined) findings.push({ ...at, message });
      }
    }
  }
  return [...findings, ...cycles(edges), ...strangers(files, rules.layers)];
}

/** Which layer a file belongs to: an exact path before `folder/*.ts` before the longest `folder/`. */
export function layerOf(path: string, layers: readonly Layer[]): Layer | undefined {
  let best: { layer: Layer; rank: number } | undefined;
  for (const layer of layers) {
    for (const pattern of layer.patterns) {
      const rank = pattern.length + (pattern === path ? 2_000 : pattern.endsWith("*.ts") ? 1_000 : 0);
      if (matches(path, pattern) && rank > (best?.rank ?? -1)) best = { layer, rank };
    }
  }
  return best?.layer;
}

function matches(path: string, pattern: string): boolean {
  if (!pattern.endsWith("*.ts")) return pattern.endsWith("/") ? path.startsWith(pattern) : path === pattern;
  return path.endsWith(".ts") && path.slice(0, path.lastIndexOf("/") + 1) === pattern.slice(0, -"*.ts".length);
}

function layerProblem(path: string, target: string, layers: readonly Layer[]): string | undefined {
  const from = layerOf(path, layers);
  const to = layerOf(target, layers);
  if (from === undefined || from === to || from.mayImport === "anything") return undefined;
  if (to?.patterns.some((pattern) => from.mayImport.includes(pattern)) === true) return undefined;
  const allowed = from.mayImport.length === 0 ? "nothing" : from.mayImport.join(", ");
  return `${from.name} may not import ${target} (${to?.name ?? "no layer"}); it may import ${allowed}`;
}

function libraryFindings(specifier: string, path: string, rules: ImportRules): string[] {
  const rule = rules.libraries.find(({ library }) => specifier === library || specifier.startsWith(`${library}/`));
  if (rule === undefined || layerOf(path, rules.layers)?.mayImport === "anything") return [];
  if (rule.knownBy.some((pattern) => matches(path, pattern))) return [];
  return [`imports ${specifier}, which only ${rule.knownBy.join(", ")} may know`];
}

/** Each cycle once, as the path that closes it. */
function cycles(edges: ReadonlyMap<string, readonly { target: string; line: number }[]>): Finding[] {
  const findings: Finding[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    for (const { target, line } of edges.get(path) ?? []) {
      const at = trail.indexOf(target);
      if (at !== -1) {
        findings.push({ path, line, message: `closes an import cycle: ${[...trail.slice(at), target].join(" -> ")}` });
      } else if (!done.has(target)) {
        visit(target, [...trail, target]);
      }
    }
    done.add(path);
  };
  for (const path of edges.keys()) if (!done.has(path)) visit(path, [path]);
  return findings;
}

function strangers(files: readonly SourceFile[], layers: readonly Layer[]): Finding[] {
  const known = new Set(layers.flatMap((layer) => layer.patterns.map((pattern) => pattern.split("/")[0])));
  const findings = new Map<string, Finding>();
  for (const { path } of files) {
    const [folder = "", below] = path.split("/");
    if (below === undefined || known.has(folder) || findings.has(folder)) continue;
    const message = `the folder ${folder}/ is in no row of the table in docs/ARCHITECTURE.md: add it, with its reason`;
    findings.set(folder, { path, line: 1, message });
  }
  return [...findings.values()];
}
