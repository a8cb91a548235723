import { readGateTimeout, readTimeout } from "../duration.ts";
import {
  approverPattern,
  labelPattern,
  namePattern,
  type Reading,
  readApprover,
  readBoolean,
  readGateText,
  readHttpUrl,
  readLabel,
  readName,
  readPriority,
  readScript,
  readText,
  readTool,
  readToolVersion,
  readVariable,
  toolPattern,
  toolVersionPattern,
  variablePattern,
} from "../reading.ts";
import { groupPattern, readGroup, readRetryCause } from "../reading-policies.ts";
import { readRelativePath } from "../relative-path.ts";

/** A part of a JSON Schema. */
export interface JsonSchema {
  [keyword: string]: unknown;
}

type Read = (text: string) => Reading<unknown>;

/** YAML makes numbers and words of scalars without quotes; the parser reads all of them as the text that is written. */
const anyScalar = ["string", "number", "boolean", "null"] as const;
const duration = {
  type: "string",
  pattern: "^(\\d{1,9}(\\.\\d{1,3})?(ms|s|m|h|d))+$",
  examples: ["90s", "10m", "1h30m"],
};

/** What people write where a reader of the schema reads. */
const written: ReadonlyMap<Read, JsonSchema> = new Map<Read, JsonSchema>([
  [readName, text(namePattern)],
  [readVariable, text(variablePattern)],
  [readLabel, { ...text(labelPattern), type: ["string", "number", "boolean"] }],
  [readTool, text(toolPattern)],
  [readToolVersion, { ...text(toolVersionPattern), examples: ["24", "3.11", "any"] }],
  [readApprover, text(approverPattern)],
  [readGroup, text(groupPattern)],
  [readText, { type: anyScalar }],
  [readScript, { type: "string", minLength: 1 }],
  [readGateText, { type: ["string", "number", "boolean"] }],
  [readRelativePath, { type: "string", pattern: "^(?!/)(?!\\*)", not: { pattern: "(^|/)\\.\\.(/|$)" } }],
  [readTimeout, duration],
  [readGateTimeout, duration],
  [readHttpUrl, { type: "string", pattern: "^http://" }],
  [readBoolean, { type: "boolean" }],
  [readPriority, { type: "integer", minimum: -1000, maximum: 1000 }],
  [
    readRetryCause,
    {
      anyOf: [
        { enum: ["any", "timeout", "out-of-memory", "output-missing"] },
        { type: "string", pattern: "^(exit [1-9]\\d{0,2}|SIG[A-Z0-9]{2,12})$" },
      ],
    },
  ],
]);

/** A number has no pattern of its own: what of it cannot be, the parser says. */
function text(pattern: RegExp): JsonSchema {
  return { type: ["string", "number"], pattern: pattern.source };
}

/**
 * The JSON Schema of what is written where `read` reads. A reader says it itself by a property `written`, or stands above;
 * of another one it is found out what it takes.
 */
export function writtenScalar(read: Read): JsonSchema {
  if ("written" in read && typeof read.written === "object") return { ...read.written };
  return written.get(read) ?? triedScalar(read);
}

function triedScalar(read: Read): JsonSchema {
  const takes = (word: string) => "value" in read(word);
  const words = ["true", "false"].every(takes);
  const numbers = ["1", "2", "7"].some(takes);
  if (takes("1s") && takes("10ms") && !takes("x") && !numbers) return duration;
  if (words && !takes("x") && !numbers) return { type: "boolean" };
  const named = wordsOf(read);
  if (named.length > 1 && !takes("x")) return { enum: named };
  if (numbers && !takes("x") && !takes("x y") && !words)
    return { type: takes("auto") ? ["number", "string"] : "number" };
  return { type: ["string", ...(numbers ? ["number"] : []), ...(words ? ["boolean"] : [])] };
}

/** Words that a reader names when it refuses (`must be queue or cancel-superseded, not …`), as far as it takes them. */
function wordsOf(read: Read): string[] {
  const reading = read("x");
  const list = "wrong" in reading ? /^must be (.*?)(?:, not .*)?$/.exec(reading.wrong)?.[1] : undefined;
  return (list ?? "").split(/, | or /).filter((word) => word !== "" && "value" in read(word));
}

/**
 * The same where an expression may stand instead of all or a part of it: what that comes to, the parser says when it has
 * its value.
 */
export function orEmbedded(schema: JsonSchema): JsonSchema {
  const { type, pattern, not, ...rest } = schema;
  const types = Array.isArray(type) ? type : type === undefined ? [] : [type];
  if (types.includes("string") && pattern === undefined && not === undefined) return schema;
  if (types.includes("string") && not === undefined)
    return { type, pattern: `${String(pattern)}|${embedded}`, ...rest };
  return { anyOf: [schema, { type: "string", pattern: embedded }] };
}

/** A pattern for the beginning of an expression. */
export const embedded = "\\$\\{\\{";
