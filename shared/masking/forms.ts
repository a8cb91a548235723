import { limits } from "../limits.ts";

/** Six bits a character: where a byte of a text begins in its base64 depends on what comes before it. */
const alignments = [0, 1, 2];

/**
 * Every text that stands for this secret: the value and each of its lines without the white space around them, as they
 * are, with `+` for spaces as web forms write them, in base64 of both alphabets wherever in a longer text it begins, and in
 * hexadecimal. What is shorter than `limits.maskedFormBytesMin` is left out: it would blot out half of every log. How
 * texts of URLs, JSON and shells write them is a matter of reading the text (views.ts), not of forms.
 */
export function formsOf(value: Uint8Array): Uint8Array[] {
  const forms = new Map<string, Uint8Array>();
  for (const unit of unitsOf(Buffer.from(value))) {
    if (unit.byteLength < limits.maskedFormBytesMin) continue;
    for (const form of [unit, withPlus(unit), ...base64Of(unit), ...hexOf(unit)]) {
      if (form.byteLength >= limits.maskedFormBytesMin) forms.set(form.toString("latin1"), form);
    }
  }
  return [...forms.values()];
}

/** Whether something of the value is too short to be masked, or is masked where it says something else. */
export function isHardToMask(value: Uint8Array): boolean {
  const units = unitsOf(Buffer.from(value));
  return units.length === 0 || units.some((unit) => unit.byteLength < limits.maskedValueBytesMin);
}

/**
 * The pieces by which a form is recognised: itself, or, when it is longer than `limits.maskedPieceBytes`, consecutive
 * pieces of it, the last of which ends where it ends. So how much of a text waits for its next bytes has a bound.
 */
export function piecesOf(form: Uint8Array): Uint8Array[] {
  const { maskedPieceBytes: size } = limits;
  if (form.byteLength <= size) return [form];
  const pieces: Uint8Array[] = [];
  for (let start = 0; start + size < form.byteLength; start += size) pieces.push(form.subarray(start, start + size));
  return [...pieces, form.subarray(form.byteLength - size)];
}

/** The value and, where there are several, each of its lines, all without white space around them; none that is empty. */
function unitsOf(value: Buffer): Buffer[] {
  const text = value.toString("latin1");
  const units = new Set([text, ...text.split(/[\r\n]+/)].map((unit) => unit.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, "")));
  units.delete("");
  return [...units].map((unit) => Buffer.from(unit, "latin1"));
}

function withPlus(unit: Buffer): Buffer {
  return Buffer.from(unit.toString("latin1").replaceAll(" ", "+"), "latin1");
}

/** Of each alignment the characters that follow from the text alone. */
function base64Of(unit: Buffer): Buffer[] {
  return alignments.flatMap((before) => {
    const encoded = Buffer.concat([Buffer.alloc(before), unit]).toString("base64");
    const first = Math.ceil((before * 8) / 6);
    const end = Math.floor(((before + unit.byteLength) * 8) / 6);
    const standard = encoded.slice(first, end);
    return [standard, standard.replaceAll("+", "-").replaceAll("/", "_")].map((text) => Buffer.from(text, "latin1"));
  });
}

function hexOf(unit: Buffer): Buffer[] {
  const hex = unit.toString("hex");
  return [hex, hex.toUpperCase()].map((text) => Buffer.from(text, "latin1"));
}
