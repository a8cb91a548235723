import { StringDecoder } from "node:string_decoder";

/** Turns the bytes of one log into lines as they arrive. */
export interface LineSplitter {
  /** The lines completed by these bytes, without their newline. */
  push(bytes: Uint8Array): string[];
  /** What is left when no more comes: no line, or the last one without a newline. */
  flush(): string[];
}

/**
 * UTF-8 that is cut between chunks stays whole, `\r\n` counts as a newline, and of a line that a progress bar rewrote by
 * `\r` only the last state is given. A line longer than `lineMaxChars` is given in pieces: output without a newline must
 * not fill the memory.
 */
export function lineSplitter(lineMaxChars: number): LineSplitter {
  const decoder = new StringDecoder("utf8");
  let rest = "";

  function take(text: string): string[] {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    const whole = lines.map(lastState);
    while (rest.length > lineMaxChars) {
      whole.push(rest.slice(0, lineMaxChars));
      rest = rest.slice(lineMaxChars);
    }
    return whole;
  }

  return {
    push: (bytes) => take(decoder.write(bytes)),
    flush() {
      const lines = take(decoder.end());
      if (rest !== "") lines.push(lastState(rest));
      rest = "";
      return lines;
    },
  };
}

function lastState(line: string): string {
  const end = line.endsWith("\r") ? line.length - 1 : line.length;
  return line.slice(line.lastIndexOf("\r", end - 1) + 1, end);
}
