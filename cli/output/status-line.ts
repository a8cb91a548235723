import { type Console, clearLine } from "./console.ts";

/** The last line of a terminal, redrawn in place below what is written above it. */
export interface StatusLine {
  /** Puts text above the line. */
  write(text: string): Promise<void>;
  /** Draws the line again with what `content` says now. */
  redraw(): void;
  /** Takes the line away. */
  close(): Promise<void>;
}

const redrawIntervalMs = 125;

/** Without a terminal there is no line, and `write` just writes. */
export function statusLine(console: Console, content: () => string): StatusLine {
  if (!console.interactive) return { write: console.write, redraw() {}, async close() {} };

  const draw = () => void console.write(clearLine + cut(content(), console.columns() - 1));
  const timer = setInterval(draw, redrawIntervalMs);
  timer.unref();
  return {
    write: (text) => console.write(clearLine + text + cut(content(), console.columns() - 1)),
    redraw: draw,
    async close() {
      clearInterval(timer);
      await console.write(clearLine);
    },
  };
}

/** Shows what work is doing, from a moment after its beginning to its end; without a terminal, or a console, it just works. */
export async function whileShowing<T>(
  console: Console | undefined,
  doing: () => string,
  work: () => Promise<T>,
): Promise<T> {
  const line = console && statusLine(console, () => `${spinner(performance.now())} ${doing()}`);
  try {
    return await work();
  } finally {
    await line?.close();
  }
}

/** The line holds no colours before this point, so characters are columns. */
function cut(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`;
}

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/** A sign of life that follows the time, so that it needs no state. */
export function spinner(nowMs: number): string {
  return frames[Math.floor(nowMs / redrawIntervalMs) % frames.length] ?? "";
}
