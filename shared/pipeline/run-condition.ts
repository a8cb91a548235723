import { MillraceError } from "../errors.ts";

/** What a condition may ask of a run while it goes on. */
export interface RunSoFar {
  /** A task has failed that may not. */
  readonly failed: boolean;
  /** Its end was asked for. */
  readonly cancelled: boolean;
}

/**
 * Whether a condition holds: `run.failed`, `run.cancelled`, `true`, `false`, with `!`, `&&`, `||` and parentheses.
 * @throws MillraceError invalid_argument when it is none
 */
export function runCondition(expression: string, run: RunSoFar): boolean {
  const words = expression.match(/&&|\|\||[!()]|[\w.]+|\S/g) ?? [];
  let at = 0;

  function any(): boolean {
    let holds = all();
    while (words[at] === "||") {
      at += 1;
      holds = all() || holds;
    }
    return holds;
  }

  function all(): boolean {
    let holds = one();
    while (words[at] === "&&") {
      at += 1;
      holds = one() && holds;
    }
    return holds;
  }

  function one(): boolean {
    const word = words[at];
    at += 1;
    if (word === "!") return !one();
    if (word === "(") {
      const holds = any();
      if (words[at] !== ")") throw wrong(words[at]);
      at += 1;
      return holds;
    }
    if (word === "run.failed") return run.failed;
    if (word === "run.cancelled") return run.cancelled;
    if (word === "true" || word === "false") return word === "true";
    throw wrong(word);
  }

  function wrong(word: string | undefined): MillraceError {
    const what = word === undefined ? "it breaks off" : `"${word}" is not expected there`;
    return new MillraceError("invalid_argument", `${expression} is no condition on a run: ${what}`);
  }

  const holds = any();
  if (at < words.length) throw wrong(words[at]);
  return holds;
}
