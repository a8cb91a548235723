import { limits } from "../limits.ts";
import type { Reading } from "./reading.ts";
import { wrongPath } from "./relative-path.ts";

// Globs are hostile input that the coordinator matches against hostile paths, and a library that turns them into regular
// expressions backtracks: with picomatch 4, `*a*a*a*a*b` took 34 s on ONE path of 255 letters. Below, both levels
// (components of a path, characters of a component) use one matcher without backtracking beyond the last star, so that
// a match costs at most pattern times path, and is counted. Tests hold the syntax to picomatch's meaning.

/**
 * A compiled input glob: `*` any characters of one component, `**` as a whole component any number of them, `?` one
 * character, `[a-z]` and `[!a-z]` one of a set, `{a,b}` alternatives, `\` takes the next character literally, a `/` or
 * `/**` at the end everything below. A `!` in front excludes. Names that begin with a dot are names like others.
 */
export interface Glob {
  readonly excludes: boolean;
  /** What the braces expand to. */
  readonly alternatives: readonly GlobPattern[];
}

export interface GlobPattern {
  /** The leading components that are literal, joined: every match is this path, or lies below it. */
  readonly base: string;
  /** No wildcard: only `base` itself matches. */
  readonly literal: boolean;
  readonly components: readonly (typeof deep | readonly GlobCharacter[])[];
}

const deep = "**";
const star = Symbol("*");
type GlobCharacter = string | typeof star | GlobSet;

interface GlobSet {
  readonly negated: boolean;
  /** Inclusive, by code point. An empty one without negation matches nothing. */
  readonly ranges: readonly (readonly [number, number])[];
}

/** Counts comparisons down; below 0 the work has become unreasonable. */
export interface GlobBudget {
  steps: number;
}

export function readGlob(text: string): Reading<Glob> {
  const excludes = text.startsWith("!");
  const pattern = excludes ? text.slice(1) : text;
  const quoted = JSON.stringify(text);
  if (pattern.length > limits.globChars) return { wrong: `is too long a glob: at most ${limits.globChars} characters` };
  const expanded = expandBraces(pattern);
  if (expanded === undefined)
    return { wrong: `expands to more than ${limits.globAlternatives} alternatives: ${quoted}` };
  const alternatives: GlobPattern[] = [];
  for (const one of expanded) {
    const wrong = wrongPath(one);
    if (wrong !== undefined) {
      const where = one === pattern ? quoted : `${JSON.stringify(one)}, from ${quoted}`;
      return { wrong: `${wrong}: ${where}`, hint: "globs are relative to the top of the source" };
    }
    const path = compile(one);
    if (path === undefined)
      return { wrong: `has a [ without its ], or a \\ at the end: ${quoted}`, hint: "\\[ is the letter [" };
    alternatives.push(path);
  }
  return { value: { excludes, alternatives } };
}

/** `a{b,c}` as `ab` and `ac`, from the inside out. Braces without a comma are letters. Undefined when there are too many. */
function expandBraces(pattern: string): string[] | undefined {
  const pending = [pattern];
  const done: string[] = [];
  for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
    const group = innermostBraces(next);
    if (group === undefined) {
      done.push(next);
    } else {
      for (const part of group.parts) pending.push(next.slice(0, group.start) + part + next.slice(group.end));
    }
    if (pending.length + done.length > limits.globAlternatives) return undefined;
  }
  return done;
}

function innermostBraces(pattern: string): { start: number; end: number; parts: string[] } | undefined {
  let start = -1;
  let commas: number[] = [];
  for (let index = 0; index < pattern.length; index++) {
    const character = pattern[index];
    if (character === "\\") {
      index += 1;
    } else if (character === "{") {
      start = index;
      commas = [];
    } else if (character === "," && start >= 0) {
      commas.push(index);
    } else if (character === "}" && start >= 0) {
      if (commas.length > 0) {
        const cuts = [start, ...commas, index];
        const parts = cuts.slice(1).map((cut, part) => pattern.slice((cuts[part] ?? 0) + 1, cut));
        return { start, end: index + 1, parts };
      }
      start = -1;
    }
  }
  return undefined;
}

function compile(pattern: string): GlobPattern | undefined {
  const names = (pattern.endsWith("/") ? `${pattern}${deep}` : pattern)
    .split("/")
    .filter((name) => name !== "" && name !== ".");
  // What lies below a folder is not the folder: the last of several components stands for at least one.
  if (names.length > 1 && names.at(-1) === deep) names.push("*");
  const components: (typeof deep | readonly GlobCharacter[])[] = [];
  for (const name of names) {
    const component = name === deep ? deep : compileComponent(name);
    if (component === undefined) return undefined;
    components.push(component);
  }
  const literals: string[] = [];
  for (const component of components) {
    const text = literalOf(component);
    if (text === undefined) break;
    literals.push(text);
  }
  return { base: literals.join("/"), literal: literals.length === components.length, components };
}

function literalOf(component: GlobPattern["components"][number]): string | undefined {
  if (component === deep) return undefined;
  const letters = component.filter((character) => typeof character === "string");
  return letters.length === component.length ? letters.join("") : undefined;
}

function compileComponent(name: string): readonly GlobCharacter[] | undefined {
  const letters = [...name];
  const characters: GlobCharacter[] = [];
  for (let index = 0; index < letters.length; index++) {
    const letter = letters[index] ?? "";
    if (letter === "*") {
      if (characters.at(-1) !== star) characters.push(star);
    } else if (letter === "?") {
      characters.push({ negated: true, ranges: [] });
    } else if (letter === "[") {
      const end = letters.indexOf("]", index + 2);
      if (end < 0) return undefined;
      characters.push(compileSet(letters.slice(index + 1, end)));
      index = end;
    } else if (letter === "\\") {
      index += 1;
      const escaped = letters[index];
      if (escaped === undefined) return undefined;
      characters.push(escaped);
    } else {
      characters.push(letter);
    }
  }
  return characters;
}

function compileSet(letters: readonly string[]): GlobSet {
  const negated = letters[0] === "!" || letters[0] === "^";
  const members = negated ? letters.slice(1) : letters;
  const ranges: (readonly [number, number])[] = [];
  for (let index = 0; index < members.length; index++) {
    const from = codePoint(members[index]);
    const isRange = members[index + 1] === "-" && index + 2 < members.length;
    ranges.push([from, isRange ? codePoint(members[index + 2]) : from]);
    if (isRange) index += 2;
  }
  return { negated, ranges };
}

function codePoint(letter: string | undefined): number {
  return letter?.codePointAt(0) ?? 0;
}

/** A path of a tree, ready to be matched many times: its components, of which each index is one character. */
export type GlobPath = readonly ArrayLike<string>[];

export function globPath(path: string): GlobPath {
  // Beyond the basic plane a character is two units of a string.
  return path.split("/").map((name) => (/[\ud800-\udfff]/.test(name) ? [...name] : name));
}

/** Whether a path matches. Steps are taken from the budget; the answer is meaningless once it is negative. */
export function globMatches(glob: GlobPattern, path: GlobPath, budget: GlobBudget): boolean {
  return wildcardMatch(glob.components, path, deep, budget, (component, name) =>
    component === deep ? false : wildcardMatch(component, name, star, budget, characterMatches),
  );
}

function characterMatches(character: GlobCharacter, letter: string): boolean {
  if (typeof character === "string") return character === letter;
  if (character === star) return false;
  const point = codePoint(letter);
  return character.ranges.some(([from, to]) => from <= point && point <= to) !== character.negated;
}

/**
 * Matches a sequence against tokens of which `any` stands for any number of items. Greedy: only the last `any` is ever
 * extended, which is enough because every other token takes exactly one item. At most tokens × items steps.
 */
function wildcardMatch<T, Item>(
  tokens: readonly T[],
  items: ArrayLike<Item>,
  any: T,
  budget: GlobBudget,
  matches: (token: T, item: Item) => boolean,
): boolean {
  let token = 0;
  let item = 0;
  let lastAny = -1;
  let lastItem = 0;
  while (item < items.length) {
    budget.steps -= 1;
    if (budget.steps < 0) return false;
    const current = tokens[token];
    const next = items[item];
    if (token < tokens.length && current === any) {
      lastAny = token;
      lastItem = item;
      token += 1;
    } else if (current !== undefined && next !== undefined && matches(current, next)) {
      token += 1;
      item += 1;
    } else if (lastAny >= 0) {
      token = lastAny + 1;
      lastItem += 1;
      item = lastItem;
    } else {
      return false;
    }
  }
  while (token < tokens.length && tokens[token] === any) token += 1;
  return token === tokens.length;
}
