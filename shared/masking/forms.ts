import { limits } from "../limits.ts";

// Bytes are handled as text in Latin-1 here: a character a byte, so that it can be cut, compared and be the key of a map.

/** Six bits a character: where a byte of a text begins in its base64 depends on what comes before it. */
const alignments = [0, 1, 2];
const white = new Set(" \t\r\n");

/**
 * Every text that stands for this secret, in Latin-1: the value and each of its lines without the white space around them,
 * as they are, with `+` for spaces as web forms write them, in base64 of both alphabets wherever in a longer text it begins,
 * and in hexadecimal. What is shorter than `limits.maskedFormBytesMin` is left out: it would blot out half of every log.
 * How texts of URLs, JSON, XML and shells write them is a matter of reading the text (views.ts), not of forms.
 */
export function formsOf(value: Uint8Array): string[] {
  const forms = new Set<string>();
  for (const unit of unitsOf(value)) {
    if (unit.length < limits.maskedFormBytesMin) continue;
    for (const form of [unit, unit.replaceAll(" ", "+"), ...base64Of(unit), ...hexOf(unit)]) {
      if (form.length >= limits.maskedFormBytesMin) forms.add(form);
    }
  }
  return [...forms];
}

/** How well a value can be masked: not at all, or here and there also where it says something else, or well. */
export function maskability(value: Uint8Array): "none" | "poor" | "good" {
  const lengths = unitsOf(value).map(({ length }) => length);
  if (lengths.every((length) => length < limits.maskedFormBytesMin)) return "none";
  return lengths.some((length) => length < limits.maskedValueBytesMin) ? "poor" : "good";
}

/**
 * The pieces by which a form is recognised: itself, or, when it is longer than `limits.maskedPieceBytes`, consecutive
 * pieces of it, the last of which ends where it ends. So how much of a text waits for its next bytes has a bound.
 */
export function piecesOf(form: string): string[] {
  const { maskedPieceBytes: size } = limits;
  if (form.length <= size) return [form];
  const pieces: string[] = [];
  for (let start = 0; start + size < form.length; start += size) pieces.push(form.slice(start, start + size));
  return [...pieces, form.slice(-size)];
}

/** The value and, where there are several, each of its lines, all without white space around them; none that is empty. */
function unitsOf(value: Uint8Array): string[] {
  const text = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("latin1");
  const units = new Set([text, ...text.split(/[\r\n]+/)].map(trimmed));
  units.delete("");
  return [...units];
}

/** Without a regular expression, which would look at a long blank within a value once for each of its characters. */
function trimmed(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && white.has(text.charAt(start))) start += 1;
  while (end > start && white.has(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

/** Of each alignment the characters that follow from the text alone. */
function base64Of(unit: string): string[] {
  return alignments.flatMap((before) => {
    const encoded = Buffer.from("\0".repeat(before) + unit, "latin1").toString("base64");
    const standard = encoded.slice(Math.ceil((before * 8) / 6), Math.floor(((before + unit.length) * 8) / 6));
    return [standard, standard.replaceAll("+", "-").replaceAll("/", "_")];
  });
}

function hexOf(unit: string): string[] {
  const hex = Buffer.from(unit, "latin1").toString("hex");
  return [hex, hex.toUpperCase()];
}
