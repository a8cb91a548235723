import { limits } from "../limits.ts";
import { suggest } from "./did-you-mean.ts";
import { entriesOf, type Located, type LocatedEntry, memberOf, type Place, textsOf } from "./located.ts";
import type { LocatedReport } from "./located-report.ts";

/** A value of a parameter, as expressions read it. */
export type ParamValue = string | bigint | number | boolean;
export type ParamValues = ReadonlyMap<string, ParamValue>;

/** A value that somebody gave, and where what is wrong with it is shown. */
export interface GivenParam {
  readonly text: string;
  readonly at: Place;
}

export interface ResolvedParams {
  readonly values: ParamValues;
  /** Names of those that nobody gave a value. */
  readonly examples: ReadonlySet<string>;
}

export interface ParamsRequest {
  /** The mapping of declarations; undefined when there is none. */
  readonly declared: Located | undefined;
  readonly given: ReadonlyMap<string, GivenParam>;
  /** Where it is said of a parameter that it has no value. */
  readonly at: Place;
  /** How to give one, for a person. */
  readonly how: (name: string) => string;
  /** One that has no value has an example of one. */
  readonly isSample: boolean;
}

/**
 * The values of all declared parameters: given, default, or example. Values that do not exist, are missing or are of
 * another type are reported, and stand with an example, so that they do not hide what else is wrong.
 */
export function resolveParams(
  { declared, given, at, how, isSample }: ParamsRequest,
  report: LocatedReport,
): ResolvedParams {
  const declarations = entriesOf(declared);
  if (declarations.size > limits.pipelineParams && declared !== undefined) {
    report(declared.at, `${declarations.size} parameters; at most ${limits.pipelineParams} are possible`);
    return { values: new Map(), examples: new Set() };
  }
  for (const [name, value] of given) {
    if (declarations.has(name)) continue;
    report(value.at, `there is no parameter "${name}"`, suggest(name, [...declarations.keys()], "parameters"));
  }
  const values = new Map<string, ParamValue>();
  const examples = new Set<string>();
  for (const [name, entry] of declarations) {
    const type = typeOf(entry);
    const fallback = memberOf(entry.value, "default") ?? (entry.value.kind === "text" ? entry.value : undefined);
    const ownDefault = fallback?.kind === "text" ? { text: fallback.text, at: fallback.at } : undefined;
    const value = given.get(name) ?? ownDefault;
    if (value === undefined) examples.add(name);
    if (value === undefined && !isSample) report(at, `parameter "${name}" has no value`, how(name));
    const reading = value === undefined ? undefined : readParam(value.text, type);
    if (value !== undefined && reading !== undefined && "wrong" in reading) {
      report(value.at, `parameter "${name}" must be ${reading.wrong}, not ${JSON.stringify(value.text)}`);
    }
    values.set(name, reading !== undefined && "value" in reading ? reading.value : exampleOf(type));
  }
  return { values, examples };
}

/** What a value of a parameter may be. */
export type ParamType =
  | { readonly kind: "string" | "number" | "boolean" }
  | { readonly kind: "choice"; readonly of: string[] };

/** Shapes that are wrong are said elsewhere; here they are texts. */
function typeOf({ value }: LocatedEntry): ParamType {
  const options = memberOf(value, "options");
  const named = memberOf(value, "type");
  const kind = named?.kind === "text" ? named.text : options === undefined ? "string" : "choice";
  if (kind === "choice") return { kind, of: textsOf(options).map(({ text }) => text) };
  return { kind: kind === "number" || kind === "boolean" ? kind : "string" };
}

function readParam(text: string, type: ParamType): { readonly value: ParamValue } | { readonly wrong: string } {
  switch (type.kind) {
    case "string":
      if (text.length <= limits.celTextChars && !text.includes("\0")) return { value: text };
      return { wrong: `at most ${limits.celTextChars} characters without NUL` };
    case "number":
      if (/^-?\d{1,15}$/.test(text)) return { value: BigInt(text) };
      return /^-?\d{1,15}\.\d{1,15}$/.test(text) ? { value: Number(text) } : { wrong: "a number" };
    case "boolean":
      return text === "true" || text === "false" ? { value: text === "true" } : { wrong: "true or false" };
    case "choice":
      return type.of.includes(text) ? { value: text } : { wrong: `one of ${type.of.join(", ")}` };
    default:
      return type satisfies never;
  }
}

function exampleOf(type: ParamType): ParamValue {
  switch (type.kind) {
    case "string":
      return "";
    case "number":
      return 0n;
    case "boolean":
      return false;
    case "choice":
      return type.of[0] ?? "";
    default:
      return type satisfies never;
  }
}
