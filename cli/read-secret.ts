import { open } from "node:fs/promises";
import { MillraceError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { unreadableFile } from "./named-file.ts";

/**
 * The value of a secret: the bytes of the file, else of standard input; a person at a terminal is asked, and what is typed is
 * not shown.
 * @throws MillraceError invalid_argument when it is longer than any secret, canceled when the person presses Ctrl-C
 */
export async function readSecret(name: string, file: string | undefined): Promise<Uint8Array> {
  if (file !== undefined) return await readFileOf(name, file);
  const { stdin } = process;
  if (stdin.isTTY) return await askFor(name);
  return await bounded(name, stdin);
}

async function readFileOf(name: string, file: string): Promise<Uint8Array> {
  try {
    await using opened = await open(file, "r");
    return await bounded(name, opened.createReadStream({ autoClose: false }));
  } catch (error) {
    throw error instanceof MillraceError ? error : unreadableFile(error, file);
  }
}

async function bounded(name: string, chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    parts.push(chunk);
    bytes += chunk.byteLength;
    if (bytes <= limits.secretBytes) continue;
    const message = `the value of the secret ${name} has more than ${limits.secretBytes} bytes, which is the most`;
    throw new MillraceError("invalid_argument", message);
  }
  return Buffer.concat(parts);
}

/** One line; the terminal does not show it. */
async function askFor(name: string): Promise<Uint8Array> {
  const { stdin, stderr } = process;
  stderr.write(`value of ${name} (not shown; Enter ends it, --file takes several lines): `);
  stdin.setRawMode(true);
  try {
    let typed = "";
    for await (const chunk of stdin) {
      for (const character of String(chunk)) {
        if (character === "\r" || character === "\n" || character === "\u0004") return Buffer.from(typed);
        if (character === "\u0003") throw new MillraceError("canceled", "the secret was not set");
        typed = character === "\u007f" ? [...typed].slice(0, -1).join("") : typed + character;
      }
    }
    return Buffer.from(typed);
  } finally {
    stdin.setRawMode(false);
    stderr.write("\n");
  }
}
