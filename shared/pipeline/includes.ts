import { limits } from "../limits.ts";
import {
  type Located,
  type LocatedMap,
  type LocatedText,
  memberOf,
  mergeLocated,
  textsOf,
  withEntries,
} from "./located.ts";
import type { LocatedReport } from "./located-report.ts";
import { readRelativePath } from "./relative-path.ts";
import { readYaml } from "./yaml-source.ts";

/** The text of a file of the source by its path there; undefined when there is none. */
export type ReadFile = (path: string) => string | undefined;

/**
 * Puts the files that a pipeline includes under it, in their order, each over those before it: mappings are joined key by
 * key, and for everything else the last one counts, at last the including file itself. Included files may include others;
 * paths are those of the source, whoever names them. Nothing but files of the source is ever read.
 * @param readFile is undefined where there is no source to read from.
 */
export function applyIncludes(
  top: Located,
  file: string,
  { readFile, report }: { readonly readFile: ReadFile | undefined; readonly report: LocatedReport },
): Located {
  const trees = new Map<string, Located | undefined>();
  /** With what they include; a file that many include is put together once. */
  const whole = new Map<string, LocatedMap>();
  let bytes = 0;
  let values = 0;

  function read(path: string, mention: LocatedText): Located | undefined {
    if (trees.has(path)) return trees.get(path);
    const text = readFile?.(path);
    if (text !== undefined) bytes += Buffer.byteLength(text);
    let tree: Located | undefined;
    if (text === undefined) {
      const hint =
        readFile === undefined
          ? "check the pipeline where its source is"
          : "paths are those of the source, from its top";
      report(mention.at, `there is no file ${path} in the source`, hint);
    } else if (trees.size >= limits.includedFiles || bytes > limits.includedBytes || values > limits.pipelineValues) {
      const most = `${limits.includedFiles} files, ${limits.includedBytes} bytes and ${limits.pipelineValues} values`;
      report(mention.at, `the pipeline includes too much: at most ${most}`, "include fewer files, or smaller ones");
    } else {
      const reading = readYaml(text, path);
      for (const problem of reading.problems) report.add({ file: path, ...problem });
      values += reading.values;
      tree = reading.top;
      if (tree !== undefined && tree.kind !== "map") report(tree.at, `${path} must be a mapping, as pipelines are`);
    }
    trees.set(path, tree);
    return tree;
  }

  function resolve(tree: LocatedMap, chain: readonly string[]): LocatedMap {
    const include = memberOf(tree, "include");
    if (include?.kind !== "list") return tree;
    let merged: Located | undefined;
    for (const mention of textsOf(include)) {
      const path = readRelativePath(mention.text);
      if ("wrong" in path) report(mention.at, `"include" ${path.wrong}`, path.hint);
      else merged = over(merged, included(path.value, mention, chain));
    }
    const own = withEntries(tree, { include: undefined });
    const all = over(merged, own);
    return all?.kind === "map" ? all : own;
  }

  function included(path: string, mention: LocatedText, chain: readonly string[]): Located | undefined {
    const circle = chain.indexOf(path);
    if (circle >= 0) {
      const shown = [...chain.slice(circle), path].join(" → ");
      report(mention.at, `files include each other in a circle: ${shown}`, "remove one of these");
      return undefined;
    }
    if (chain.length > limits.includeDepth) {
      report(
        mention.at,
        `more than ${limits.includeDepth} files include each other in a chain`,
        "include them from one file",
      );
      return undefined;
    }
    const known = whole.get(path);
    if (known !== undefined) return known;
    const tree = read(path, mention);
    if (tree?.kind !== "map") return undefined;
    const resolved = resolve(tree, [...chain, path]);
    whole.set(path, resolved);
    return resolved;
  }

  return top.kind === "map" ? resolve(top, [file]) : top;
}

function over(under: Located | undefined, upper: Located | undefined): Located | undefined {
  if (under === undefined || upper === undefined) return upper ?? under;
  return mergeLocated(under, upper);
}

/**
 * The files that a pipeline includes, read one after another, for who cannot read them at once. What is wrong with them is
 * for `parsePipeline` to say.
 */
export async function gatherIncludes(
  text: string,
  file: string,
  readFile: (path: string) => Promise<string | undefined>,
): Promise<ReadonlyMap<string, string>> {
  const texts = new Map<string, string>();
  let bytes = 0;
  const pending = [...mentionedIn(text, file)];
  for (let path = pending.shift(); path !== undefined; path = pending.shift()) {
    if (path === file || texts.has(path) || texts.size >= limits.includedFiles) continue;
    const read = await readFile(path);
    if (read === undefined) continue;
    texts.set(path, read);
    bytes += Buffer.byteLength(read);
    if (bytes > limits.includedBytes) break;
    pending.push(...mentionedIn(read, path));
  }
  return texts;
}

function mentionedIn(text: string, file: string): string[] {
  if (!mayInclude(text)) return [];
  return textsOf(memberOf(readYaml(text, file).top, "include")).flatMap((mention) => {
    const path = readRelativePath(mention.text);
    return "value" in path ? [path.value] : [];
  });
}

/** Whether a file may include others; most do not, and need not be read twice for it. */
function mayInclude(text: string): boolean {
  return text.includes("include");
}
