import { backslashEscapes, type Escapes, entityEscapes, percentEscapes, quoteEscapes } from "./escapes.ts";
import { plainView, rewriting, type View } from "./view.ts";
import { unwrappedViews } from "./wrapping.ts";

/** The escapes that texts are read by, and those by which what comes of it is read once more. */
const readings: readonly (readonly [Escapes, ...Escapes[]])[] = [
  [percentEscapes, percentEscapes],
  [backslashEscapes, backslashEscapes],
  [entityEscapes, entityEscapes, backslashEscapes],
  [quoteEscapes],
];

/**
 * What is behind the last byte of a text: more of it, or nothing, and then an escape that ends there without being one either
 * stands for itself or is left out.
 */
export type TextEnd = "open" | "whole" | "cut";

/**
 * All readings of a text in which a secret may stand: as it is, with the escapes of URLs, of JSON and shells, of XML, and
 * with the quotes of shells; with those that are written in one another (JSON in JSON, JSON in XML, a URL in a URL); each
 * also without the line breaks of wrapped base64. Readings that come to the same as another are left out.
 */
export function viewsOf(text: Uint8Array, end: TextEnd): View[] {
  const plain = plainView(text);
  const views: View[] = [plain];
  for (const [outer, ...inner] of readings) {
    const view = unescaped(plain, outer, end);
    if (view === undefined) continue;
    views.push(view);
    for (const escapes of inner) {
      const twice = unescaped(view, escapes, end);
      if (twice !== undefined) views.push(twice);
    }
  }
  return views.flatMap((view) => [view, ...unwrappedViews(view, end !== "open")]);
}

/** Undefined when there is nothing to read by these escapes. */
function unescaped(base: View, { mark, read }: Escapes, textEnd: TextEnd): View | undefined {
  const { symbols } = base;
  let rewritten: ReturnType<typeof rewriting> | undefined;
  for (let at = symbols.indexOf(mark); at >= 0; ) {
    const reading = read(symbols, at);
    if (reading === "open" && textEnd !== "whole") return (rewritten ?? rewriting(base)).finish(at);
    let end = at + 1;
    if (reading !== undefined && reading !== "open") {
      end = at + reading.bytes;
      rewritten ??= rewriting(base);
      rewritten.replace(at, end, reading.symbols);
    }
    at = symbols.indexOf(mark, end);
  }
  return rewritten?.finish();
}
