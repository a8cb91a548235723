import { type GateField, GateFieldKind, type ManualGate } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../shared/limits.ts";

/** What a person filled in and ticked. */
export interface FilledForm {
  readonly fields: Readonly<Record<string, string>>;
  /** Items of the checklist, from 0. */
  readonly checked: readonly number[];
}

/** Something that is wrong with an approval, for a person. */
export interface FormProblem {
  /** The field, or `checklist`. */
  readonly field: string;
  readonly description: string;
}

type Form = Pick<ManualGate, "fields" | "checklist">;

/** Everything that is not filled in as the gate says, with what may stand there. */
export function formProblems({ fields: asked, checklist }: Form, { fields, checked }: FilledForm): FormProblem[] {
  const names = asked.map(({ name }) => name);
  const there = names.length === 0 ? "the gate has none" : `there are ${someOf(names)}`;
  const unknown = Object.keys(fields).filter((name) => !names.includes(name));
  const problems = unknown.map((name) => ({ field: cut(name), description: `there is no such field; ${there}` }));
  for (const field of asked) {
    const description = fieldProblem(field, fields[field.name] ?? "");
    if (description !== undefined) problems.push({ field: field.name, description });
  }
  const items = checklist.length;
  const isWrong = (item: number, index: number) =>
    !Number.isInteger(item) || item < 0 || item >= items || checked.indexOf(item) !== index;
  if (!checked.some(isWrong)) return problems;
  const may = items === 0 ? "is empty" : `has items 1 to ${items}, each of which can be ticked once`;
  return [...problems, { field: "checklist", description: `${may}; got ${someOf(checked.map((item) => item + 1))}` }];
}

/** Items of the checklist that none of these forms has ticked, from 0: a tick is everybody's, whoever gave it. */
export function untickedOf({ checklist }: Form, forms: Iterable<Pick<FilledForm, "checked">>): number[] {
  const ticked = new Set([...forms].flatMap(({ checked }) => checked));
  return [...checklist.keys()].filter((item) => !ticked.has(item));
}

/** For a person: which items are not ticked, and how to tick them. */
export function describeUnticked({ checklist }: Form, unticked: readonly number[]): string {
  const items = someOf(unticked.map((item) => `${item + 1} "${cut(checklist[item] ?? "")}"`));
  const numbers = unticked.map((item) => item + 1).join(" ");
  const are = unticked.length === 1 ? "is" : "are";
  return `not ticked ${are} ${items}; tick what you have looked at with --check ${numbers}, or all with --check-all`;
}

/** What is wrong with a value; undefined when nothing is. */
function fieldProblem(field: GateField, value: string): string | undefined {
  const { name, required, title } = field;
  if (value.trim() === "") {
    const meaning = title === "" || title === name ? "" : ` (${title})`;
    return required ? `has to be filled in, with ${kindOf(field)}${meaning}` : undefined;
  }
  if (value.length > limits.gateFieldChars) return `has more than ${limits.gateFieldChars} characters`;
  return isOfKind(field, value) ? undefined : `is ${kindOf(field)}, not "${cut(value)}"`;
}

function isOfKind({ kind, options }: GateField, value: string): boolean {
  switch (kind) {
    case GateFieldKind.NUMBER:
      return Number.isFinite(Number(value));
    case GateFieldKind.BOOLEAN:
      return value === "true" || value === "false";
    case GateFieldKind.CHOICE:
      return options.includes(value);
    default:
      return true; // text
  }
}

function kindOf({ kind, options }: GateField): string {
  switch (kind) {
    case GateFieldKind.NUMBER:
      return "a number";
    case GateFieldKind.BOOLEAN:
      return "true or false";
    case GateFieldKind.CHOICE:
      return `one of ${someOf(options.map(cut))}`;
    default:
      return "text";
  }
}

/** The first ones, and how many more: an answer has to fit into the headers in which errors travel. */
function someOf(all: readonly (string | number)[]): string {
  const more = all.length - limits.gateProblems;
  return all.slice(0, limits.gateProblems).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function cut(text: string): string {
  return text.length > limits.gateQuotedChars ? `${text.slice(0, limits.gateQuotedChars)}…` : text;
}
