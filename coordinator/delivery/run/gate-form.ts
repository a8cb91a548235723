import { type GateField, GateFieldKind, type ManualGate } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";

/** What a person filled in and ticked. */
export interface FilledForm {
  readonly fields: Readonly<Record<string, string>>;
  readonly checked: readonly number[];
}

/** Refuses a form that is not filled in right, with everything that is wrong. @throws MillraceError invalid_argument */
export function requireForm(gate: Pick<ManualGate, "fields" | "checklist">, { fields, checked }: FilledForm): void {
  const known = new Map(gate.fields.map((field) => [field.name, field]));
  const problems = Object.keys(fields).flatMap((name) => {
    if (known.has(name)) return [];
    const names = [...known.keys()].join(", ");
    return [`there is no field "${name}"; ${names === "" ? "the gate has none" : `the fields are: ${names}`}`];
  });
  for (const field of gate.fields) {
    const wrong = fieldProblem(field, fields[field.name] ?? "");
    if (wrong !== undefined) problems.push(`${field.name} ${wrong}`);
  }
  const items = gate.checklist.length;
  const isWrong = (item: number, index: number) =>
    !Number.isInteger(item) || item < 0 || item >= items || checked.indexOf(item) !== index;
  if (checked.some(isWrong)) {
    problems.push(`of a checklist with ${items} items, each can be ticked once: got ${checked.join(", ")}`);
  }
  if (problems.length > 0) throw new MillraceError("invalid_argument", problems.join("\n"));
}

/** What is wrong with a value; undefined when nothing is. */
function fieldProblem({ kind, options, required, title }: GateField, value: string): string | undefined {
  if (value.trim() === "") {
    return required ? `has to be filled in${title === "" ? "" : `: ${title}`}` : undefined;
  }
  if (value.length > limits.gateFieldChars) return `has more than ${limits.gateFieldChars} characters`;
  switch (kind) {
    case GateFieldKind.NUMBER:
      return Number.isFinite(Number(value)) ? undefined : `is a number, not "${value}"`;
    case GateFieldKind.BOOLEAN:
      return value === "true" || value === "false" ? undefined : `is true or false, not "${value}"`;
    case GateFieldKind.CHOICE:
      return options.includes(value) ? undefined : `is one of ${options.join(", ")}, not "${value}"`;
    default:
      return undefined;
  }
}
