import { dirname, join } from "node:path/posix";
import { headingAnchors, withoutFences } from "./markdown.ts";
import { type Finding, lineAt, type SourceFile } from "./source-files.ts";

/** Lines that only make sense on one machine or at one workplace. */
const placesOfOneMachine: readonly { readonly pattern: RegExp; readonly what: string }[] = [
  { pattern: /(?<![\w.}*/-])\/(?:work|root)\/[\w.]/g, what: "a path of one machine" },
  { pattern: /(?<![\w.}*-])\/(?:home|Users)\/(?!task\b)[\w.]/g, what: "a path of one machine" },
  {
    pattern: /\b(?:registry\.[\w-]+\.\w+|[\w-]+\.pkg\.dev|npm\.pkg\.[\w.]+)\b/g,
    what: "the address of a package registry",
  },
];

/** Paths and hosts that another machine does not have. */
export function machineFindings(file: SourceFile): Finding[] {
  return placesOfOneMachine.flatMap(({ pattern, what }) =>
    [...file.text.matchAll(pattern)].map((match) => ({
      path: file.path,
      line: lineAt(file.text, match.index),
      message: `names ${what} ("${match[0]}")`,
    })),
  );
}

/** Addresses in package-lock.json: with none, it installs from whichever registry a machine is set to. */
export function lockFindings(file: SourceFile): Finding[] {
  return [...file.text.matchAll(/"resolved":\s*"https?:/g)].map((match) => ({
    path: file.path,
    line: lineAt(file.text, match.index),
    message: "holds a download address: install with the repository's .npmrc",
  }));
}

/** Relative links of a Markdown file that lead nowhere, with their headings. `files` are all of the repository. */
export function linkFindings(file: SourceFile, files: readonly SourceFile[]): Finding[] {
  const prose = withoutFences(file.text);
  const findings: Finding[] = [];
  for (const match of prose.matchAll(/\]\(([^()\s]+)(?:\s+"[^"]*")?\)/g)) {
    const target = match[1] ?? "";
    if (/^[a-z]+:/i.test(target)) continue;
    const [path = "", fragment] = target.split("#");
    const full = path === "" ? file.path : join(dirname(file.path), decodeURIComponent(path)).replace(/\/$/, "");
    const found = files.find((other) => other.path === full);
    const at = { path: file.path, line: lineAt(file.text, match.index) };
    if (found === undefined && !files.some((other) => other.path.startsWith(`${full}/`))) {
      findings.push({ ...at, message: `links to ${target}, which is not there` });
    } else if (fragment !== undefined && found?.path.endsWith(".md") && !headingAnchors(found.text).has(fragment)) {
      findings.push({ ...at, message: `links to ${target}, which has no such heading` });
    }
  }
  return findings;
}
