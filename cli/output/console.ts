import { once } from "node:events";
import pc from "picocolors";

/** Colours by name; plain text where they are not wanted. */
export type Colors = ReturnType<typeof pc.createColors>;

/** Where a command writes. */
export interface Console {
  readonly colors: Colors;
  /** Whether a person watches: only then may anything be redrawn. */
  readonly interactive: boolean;
  /** Width of the terminal in columns; 80 where there is none. */
  columns(): number;
  /** Results, to standard output; resolves when more may be written. */
  write(text: string | Uint8Array): Promise<void>;
  /** One JSON object on a line of its own, to standard output. */
  writeJson(value: unknown): Promise<void>;
  /** Remarks for a person, to standard error. */
  note(text: string): void;
}

/** Takes away what stands on the present line of a terminal. */
export const clearLine = "\r\u001b[K";

/** The console of this process. Colours follow standard output; NO_COLOR takes them away. */
export function processConsole(): Console {
  return consoleOn(process.stdout);
}

/** A console for progress alone, on standard error: what a command prints may go into a file or another program. */
export function progressConsole(): Console {
  return consoleOn(process.stderr);
}

function consoleOn(output: NodeJS.WriteStream): Console {
  const write = async (text: string | Uint8Array) => {
    if (!output.write(text)) await once(output, "drain");
  };
  return {
    colors: pc.createColors(coloursWanted(process.env, output.isTTY === true)),
    interactive: isTerminal(output),
    columns: () => output.columns || 80,
    write,
    writeJson: (value) => write(`${JSON.stringify(value)}\n`),
    // A status line may stand there, of whoever shows what is being done: it comes again below.
    note: (text) => void process.stderr.write(`${isTerminal(process.stderr) ? clearLine : ""}${text}\n`),
  };
}

/** Whether what is drawn there can be drawn over. */
function isTerminal(output: NodeJS.WriteStream): boolean {
  return output.isTTY === true && process.env.TERM !== "dumb";
}

/** https://no-color.org: any non-empty value of NO_COLOR means none. */
export function coloursWanted(env: Readonly<Record<string, string | undefined>>, isTerminal: boolean): boolean {
  return isTerminal && (env.NO_COLOR ?? "") === "" && env.TERM !== "dumb";
}
