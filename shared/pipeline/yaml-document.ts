import { Composer, type CST, type Document, Lexer, LineCounter, Parser } from "yaml";
import { limits } from "../limits.ts";
import type { Position } from "./pipeline.ts";

/** A text as the YAML library understands it. */
export interface YamlDocument {
  readonly document: Document.Parsed;
  position(offset: number): Position;
  /** Where nesting becomes deeper than any pipeline's; what follows was not read. */
  readonly tooDeepAt: number | undefined;
  /** Where a second document begins. */
  readonly secondAt: number | undefined;
}

/** What the library's stack holds beside the levels of nesting: the document, and the scalar at the end. */
const stackBase = 3;

/**
 * Reads the first document of a text, as the library's `parseDocument` does, and ends where that would go on: it calls itself
 * for each level of nesting until the stack is full, and tells of each error with a stack trace. A hostile megabyte has
 * 900,000 of either.
 */
export function readYamlDocument(text: string): YamlDocument {
  const lines = new LineCounter();
  lines.addNewLine(0);
  const parser = new Parser(lines.addNewLine);
  let tooDeepAt: number | undefined;
  let errors = 0;

  function* tokens(): Generator<CST.Token> {
    for (const lexeme of new Lexer().lex(text)) {
      for (const token of parser.next(lexeme)) {
        if (token.type === "error") errors += 1;
        yield token;
      }
      if (errors > limits.pipelineProblems) return;
      if (parser.stack.length > limits.pipelineDepth + stackBase) {
        tooDeepAt = parser.offset;
        return;
      }
    }
    yield* parser.end();
  }

  // The library looks for a duplicate key among all keys before it: a minute for a hostile file. Ours is in yaml-source.ts.
  const composer = new Composer({ schema: "failsafe", prettyErrors: false, uniqueKeys: false });
  const [document, second] = withoutStackTraces(() => [...composer.compose(tokens(), true, text.length).take(2)]);
  if (document === undefined) throw new Error("the YAML library made no document, which it always does");
  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  return { document, position, tooDeepAt, secondAt: second?.range[0] };
}

function withoutStackTraces<T>(work: () => T): T {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return work();
  } finally {
    Error.stackTraceLimit = before;
  }
}
