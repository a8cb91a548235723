import { choicesOf, propertiesOf, recordOf, schemaLevels } from "./levels.ts";
import { embedded, type JsonSchema } from "./written-scalars.ts";

/** The page `docs/guides/pipeline-reference.md`: every key of a pipeline file, what may stand there and what it means. Pure. */
export function pipelineReference(schema: JsonSchema): string {
  const lines = [
    "# Reference of the pipeline language",
    "",
    "<!-- Made from the schema by `npm run reference`; edit the descriptions there and not here. -->",
    "",
    "Every key of a pipeline file. How they work together is in the [guide](pipeline-language.md); as JSON Schema, for editors and",
    "other programs, they come from `millrace schema`, and from a coordinator at `/schema/pipeline.json`. Keys in **bold** are required.",
    "An expression, `${{ … }}`, may stand in the place of a text or number, or in it.",
  ];
  const levels = schemaLevels(schema);
  const task = propertiesOf(levels.find(({ path }) => path === taskPath)?.schema ?? {});
  for (const { title, path, schema: level } of levels) {
    lines.push("", `## ${title}`, "");
    if (path !== "") lines.push(`At \`${path.replaceAll("*", "<name>")}\`.`, "");
    const ofTask = path !== taskPath && Object.keys(task).every((key) => key in propertiesOf(level));
    if (ofTask) lines.push("All keys of a task, and:", "");
    lines.push("| key | what stands there | meaning |", "|---|---|---|");
    lines.push(...rowsOf(level, (key) => !(ofTask && key in task)));
  }
  return `${lines.join("\n")}\n`;
}

const taskPath = "stages.*.tasks.*";

function rowsOf(level: JsonSchema, shown: (key: string) => boolean): string[] {
  const always = level["required"] ?? choicesOf(level)[0]?.["required"];
  const required = new Set(Array.isArray(always) ? always : []);
  const keys = Object.entries(propertiesOf(level)).filter(([key]) => shown(key));
  const others = level["additionalProperties"];
  const rest: [string, unknown][] = typeof others === "object" && others !== null ? [["<name>", others]] : [];
  return [...keys, ...rest].map(([key, value]) => {
    const { description = "" } = recordOf(value);
    const name = required.has(key) ? `**\`${key}\`**` : `\`${key}\``;
    return `| ${name} | ${cell(kindOf(recordOf(value)))} | ${cell(String(description))} |`;
  });
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

/** What may stand at a key, in words. */
function kindOf(schema: JsonSchema): string {
  const choices = choicesOf(schema).filter(
    (choice) => choice["pattern"] !== embedded && Object.keys(choice).join() !== "required",
  );
  if (choices.length > 0) return [...new Set(choices.map(kindOf))].join(", or ");
  const { enum: words, const: word, type, examples } = schema;
  if (Array.isArray(words) && words.includes(null)) return "nothing";
  if (Array.isArray(words)) return words.map((one) => `\`${String(one)}\``).join(", ");
  if (word !== undefined) return `\`${JSON.stringify(word)}\``;
  if (type === "array")
    return `list of ${kindOf(Array.isArray(schema["items"]) ? recordOf(schema["items"][0]) : recordOf(schema["items"]))}`;
  if (type === "object") return mappingKind(schema);
  if (type === "boolean") return "`true` or `false`";
  if (type === "integer" || type === "number") return numberKind(schema);
  if (Array.isArray(examples)) return `text such as ${examples.map((one) => `\`${String(one)}\``).join(", ")}`;
  return "text";
}

function mappingKind(schema: JsonSchema): string {
  if (Object.keys(propertiesOf(schema)).length > 0) return "mapping";
  return `name → ${kindOf(recordOf(schema["additionalProperties"]))}`;
}

function numberKind({ type, minimum, maximum }: JsonSchema): string {
  const kind = type === "integer" ? "whole number" : "number";
  const bounded = typeof minimum === "number" && typeof maximum === "number" && maximum < Number.MAX_SAFE_INTEGER;
  return bounded ? `${kind} from ${minimum} to ${maximum}` : kind;
}
