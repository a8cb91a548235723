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

/** The console of this process. Colours follow standard output; NO_COLOR takes them away. */
export function processConsole(): Console {
  const { stdout, stderr } = process;
  const write = async (text: string | Uint8Array) => {
    if (!stdout.write(text)) await once(stdout, "drain");
  };
  return {
    colors: pc.createColors(coloursWanted(process.env, stdout.isTTY === true)),
    interactive: stdout.isTTY === true && process.env.TERM !== "dumb",
    columns: () => stdout.columns || 80,
    write,
    writeJson: (value) => write(`${JSON.stringify(value)}\n`),
    note: (text) => void stderr.write(`${text}\n`),
  };
}

/** https://no-color.org: any non-empty value of NO_COLOR means none. */
export function coloursWanted(env: Readonly<Record<string, string | undefined>>, isTerminal: boolean): boolean {
  return isTerminal && (env.NO_COLOR ?? "") === "" && env.TERM !== "dumb";
}
