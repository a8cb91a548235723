import { describe, expect, test } from "vitest";
import {
  type Finding,
  findingText,
  isGenerated,
  isScript,
  lineAt,
  type SourceFile,
  sourceFiles,
} from "./support/source-files.ts";
import { parseSource } from "./support/syntax.ts";
import { linkFindings, lockFindings, machineFindings } from "./support/text-rules.ts";
import { codeRules, isUnownedNote, nameFindings, testRules } from "./support/tidy-rules.ts";

const rules = { ...codeRules, ...testRules };
type RuleName = keyof typeof rules;

/** Source with one fault each, that the named rule must find. */
const faults: readonly (readonly [RuleName, string])[] = [
  ["files have at most 400 lines", lines(401)],
  ["functions have at most 70 lines", `function long() {\n${lines(69)}}`],
  ["functions have at most 70 lines", `const o = { long() {\n${lines(69)}} };`],
  ["functions have at most 70 lines", `function f() {\n  const short = () => {\n${lines(5)}};\n${lines(70)}}`],
  ["nothing is exported as default", "export default 1;"],
  ["modules hold no state", "let count = 0;"],
  ["modules hold no state", "export var count = 0;"],
  ["modules hold no state", "export const seen = new Map<string, string>();"],
  ["modules hold no state", "export const names = ['a'];"],
  ["modules hold no state", "export const names: string[] = make();"],
  ["modules hold no state", "const seen = new Set();\nfunction f(a) { seen.add(a); }"],
  ["modules hold no state", "const state = { n: 0 };\nfunction f() { state.n += 1; }"],
  ["modules hold no state", "const state = { n: 0 };\nfunction f() { state.n++; }"],
  ["a file is more than a list of re-exports", "export * from './a.ts';\nexport { b } from './b.ts';"],
  ["a file is more than a list of re-exports", "import { b } from './b.ts';\nexport { b };"],
  ["there is no enum and no namespace", "enum E { A }"],
  ["there is no enum and no namespace", "namespace N { export const a = 1; }"],
  ["no catch is silent", "try { f(); } catch {}"],
  ["no catch is silent", "p.catch(() => {});"],
  ["a note about work to do names its issue", `// ${"TO"}DO: later`],
  ["a note about work to do names its issue", `/* ${"FIX"}ME */ const a = 1;`],
  ["what is exported says what it is for", "export class A {}"],
  ["what is exported says what it is for", `export function f() {\n${lines(4)}}`],
  ["what is exported says what it is for", "export interface A { a: 1; b: 2; c: 3 }"],
  ["what is exported says what it is for", "export interface A { call(): void }"],
  ["what is exported says what it is for", "/* not a docstring */\nexport class A {}"],
  ["no test is left out or run alone", "test.only('a', () => {});"],
  ["no test is left out or run alone", "describe.skip('a', () => {});"],
  ["no test is left out or run alone", "test.concurrent.skip('a', () => {});"],
  ["no test sleeps", "await new Promise((done) => setTimeout(done, 50));"],
  ["no test sleeps", "const due = setTimeout(done, 50);\nawait promise;"],
  ["no test sleeps", "import { setTimeout } from 'node:timers/promises';"],
];

/** Source that comes close to a fault and is none. */
const fine: readonly (readonly [RuleName, string])[] = [
  ["files have at most 400 lines", lines(400)],
  ["functions have at most 70 lines", `function f() {\n${lines(68)}}`],
  [
    "functions have at most 70 lines",
    `function factory() {\n  return {\n    a() {\n${lines(50)}},\n    b() {\n${lines(50)}}};}`,
  ],
  ["modules hold no state", "const names = new Map([['a', 1]]);\nfunction f() { const names = 1; return names; }"],
  ["modules hold no state", "export const names: ReadonlySet<string> = new Set(['a']);"],
  ["modules hold no state", "export const names = ['a'] as const;"],
  ["modules hold no state", "export const limits = { a: 1 } as const;"],
  ["modules hold no state", "function f() { let count = 0; return count; }"],
  ["a file is more than a list of re-exports", "export { b } from './b.ts';\nexport const a = 1;"],
  ["a file is more than a list of re-exports", "import './effects.ts';"],
  ["no catch is silent", "try { f(); } catch { /* gone already, which is what was wanted */ }"],
  ["no catch is silent", "p.catch((error) => report(error));"],
  ["no catch is silent", "p.catch(() => {}); // awaited below"],
  ["a note about work to do names its issue", "const text = '// TODO in a string';"],
  ["a note about work to do names its issue", `// ${"TO"}DO(#12): later`],
  ["what is exported says what it is for", "/** Why. */\nexport class A {}"],
  ["what is exported says what it is for", "export function f() {\n  return 1;\n}"],
  ["what is exported says what it is for", "export interface A { /** Unit. */ a: 1; b: 2; c: 3 }"],
  [
    "what is exported says what it is for",
    `/** Why. */\nexport interface A { call(): void }\nexport function a(): A {\n${lines(9)}}`,
  ],
  [
    "what is exported says what it is for",
    `export interface Options { a: 1; b: 2; c: 3 }\n/** Why. */\nexport function f(options: Options) {\n${lines(9)}}`,
  ],
  ["no test is left out or run alone", "test.skipIf(process.platform !== 'linux')('a', () => {});"],
  ["no test sleeps", "clock.advance(50);"],
  ["no test sleeps", "const late = setTimeout(kill, 9_000);\nawait ended;\nclearTimeout(late);"],
];

describe("the repository", () => {
  const files = sourceFiles();
  // Examples are projects of other people's kind: our house rules end at their door.
  const ours = files.filter((file) => !isGenerated(file) && !file.path.startsWith("examples/"));
  const code = ours.filter(isScript).map(parseSource);

  test("was really read", () => {
    expect(code.length).toBeGreaterThan(20);
    expect(files.some((file) => file.path === "package-lock.json")).toBe(true);
  });

  test.each(Object.entries(codeRules))("%s", (_, rule) => {
    expect(texts(code.flatMap(rule))).toEqual([]);
  });

  test.each(Object.entries(testRules))("%s", (_, rule) => {
    expect(texts(code.filter((file) => file.path.startsWith("test/")).flatMap(rule))).toEqual([]);
  });

  test("a note about work to do names its issue, in scripts, protocols and settings too", () => {
    const plain = ours.filter((file) => /\.(sh|proto|ya?ml|py)$|^bin\//.test(file.path) && !isScript(file));
    expect(texts(plain.flatMap(unownedNotes))).toEqual([]);
  });

  test("code files are named in kebab-case", () => {
    expect(texts(ours.flatMap((file) => nameFindings(file.path)))).toEqual([]);
  });

  test("nothing names a path of one machine or a package registry", () => {
    expect(texts(files.flatMap(machineFindings))).toEqual([]);
  });

  test("package-lock.json holds no download address", () => {
    expect(texts(files.filter((file) => file.path === "package-lock.json").flatMap(lockFindings))).toEqual([]);
  });

  test("relative links in documents lead somewhere", () => {
    const documents = files.filter((file) => file.path.endsWith(".md"));
    expect(texts(documents.flatMap((file) => linkFindings(file, files)))).toEqual([]);
  });
});

describe("the rules can fail", () => {
  test.each(cases(faults))("%s: finds %j", (name, _, text) => {
    expect(rules[name](made(text))).toHaveLength(1);
  });

  test.each(cases(fine))("%s: lets pass %j", (name, _, text) => {
    expect(rules[name](made(text))).toEqual([]);
  });

  test("a finding says file, line and what to do", () => {
    expect(texts(codeRules["modules hold no state"](made("f();\nlet count = 0;")))).toEqual([
      "shared/made-up.ts:2: a variable of the module: state belongs to whoever a factory makes",
    ]);
  });

  test("a note without an issue is found in a script", () => {
    expect(texts(unownedNotes({ path: "deploy/a.sh", text: `true\n# ${"TO"}DO mend\n` }))).toHaveLength(1);
  });

  test.each(["shared/TwoWords.ts", "shared/two_words.ts", "Shared/a.ts", "shared/twoWords.test.ts"])(
    "the name %s is found",
    (path) => {
      expect(nameFindings(path)).toHaveLength(1);
    },
  );

  test.each(["shared/two-words.ts", "test/unit/a.test.ts", ".ci/run.sh", "proto/gen/a_pb.d.txt"])(
    "the name %s passes",
    (path) => {
      expect(nameFindings(path)).toEqual([]);
    },
  );

  test.each([`cd ${"/wo"}rk/main`, `"${"/ho"}me/ann/x"`, `=${"/ro"}ot/x`, `https://${"regis"}try.example.org/`])(
    "the place in %j is found",
    (text) => {
      expect(machineFindings({ path: "a.md", text })).toHaveLength(1);
    },
  );

  test.each(["src/work/a.ts", "HOME=/home/task", "https://example.org/home/a", "the registry of agents"])(
    "%j names no machine",
    (text) => {
      expect(machineFindings({ path: "a.md", text })).toEqual([]);
    },
  );

  test("a download address in the lock file is found", () => {
    const text = `{\n"resolved": "https://example.org/a.tgz"\n}`;
    expect(texts(lockFindings({ path: "package-lock.json", text }))).toEqual([
      "package-lock.json:2: holds a download address: install with the repository's .npmrc",
    ]);
  });

  test("a link to a missing file or heading is found, and nothing else", () => {
    const document = {
      path: "docs/a.md",
      text: [
        "[gone](gone.md) [here](#one-thing) [there](../README.md#the-top) [folder](guides/)",
        "[no heading](#two-things) [nor there](../README.md#the-end) [web](https://example.org/x)",
        "# One thing",
        "```",
        "[in code](nowhere.md)",
        "```",
      ].join("\n"),
    };
    const files = [document, { path: "README.md", text: "# The top" }, { path: "docs/guides/b.md", text: "" }];
    expect(texts(linkFindings(document, files))).toEqual([
      "docs/a.md:1: links to gone.md, which is not there",
      "docs/a.md:2: links to #two-things, which has no such heading",
      "docs/a.md:2: links to ../README.md#the-end, which has no such heading",
    ]);
  });
});

function lines(count: number): string {
  return "f();\n".repeat(count);
}

/** With a title short enough to read. */
function cases(list: readonly (readonly [RuleName, string])[]): [RuleName, string, string][] {
  return list.map(([name, text]) => [name, text.length > 60 ? `${text.slice(0, 59)}…` : text, text]);
}

function made(text: string) {
  return parseSource({ path: "shared/made-up.ts", text });
}

function unownedNotes(file: SourceFile): Finding[] {
  return [...file.text.matchAll(/^.*$/gm)]
    .filter((match) => isUnownedNote(match[0]))
    .map((match) => ({ path: file.path, line: lineAt(file.text, match.index + 1), message: "work to do, no issue" }));
}

function texts(findings: readonly Finding[]): string[] {
  return findings.map(findingText);
}
