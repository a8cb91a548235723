/** A text with expressions in it, as what is written and what stands between `${{` and `}}`. */
export type Piece = { readonly text: string } | { readonly expression: string };

const opening = "${{";

/** Whether there may be an expression in a text. */
export function mayEmbed(text: string): boolean {
  return text.includes(opening);
}

/** `$${{` is the text `${{`. Undefined when an expression has no end. */
export function readPieces(text: string): readonly Piece[] | undefined {
  const pieces: Piece[] = [];
  let written = "";
  let from = 0;
  for (let at = text.indexOf(opening); at >= 0; at = text.indexOf(opening, from)) {
    written += text.slice(from, at);
    if (written.endsWith("$") && text[at - 1] === "$") {
      written = `${written.slice(0, -1)}${opening}`;
      from = at + opening.length;
      continue;
    }
    const end = endOf(text, at + opening.length);
    if (end === undefined) return undefined;
    if (written !== "") pieces.push({ text: written });
    written = "";
    pieces.push({ expression: text.slice(at + opening.length, end).trim() });
    from = end + 2;
  }
  written += text.slice(from);
  return written === "" ? pieces : [...pieces, { text: written }];
}

/** Where the `}}` is that closes an expression: not in a string, not that of mappings within. */
function endOf(text: string, from: number): number | undefined {
  let quote = "";
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const letter = text[at] ?? "";
    if (quote !== "") {
      if (letter === "\\") at += 1;
      else if (letter === quote) quote = "";
    } else if (letter === "'" || letter === '"') {
      quote = letter;
    } else if (letter === "{") {
      depth += 1;
    } else if (letter === "}") {
      if (depth === 0) return text[at + 1] === "}" ? at : undefined;
      depth -= 1;
    }
  }
  return undefined;
}
