import { generateKeyPairSync } from "node:crypto";
import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Values of every kind, each so unlike all else that finding a piece of it anywhere means a leak. */
export function secretCorpus(): Readonly<Record<string, string>> {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return {
    TOKEN: "npm_Zq7+/w9==xTr&%4v?",
    LONGER_TOKEN: "npm_Zq7+/w9==xTr&%4v?-and-more-of-it",
    UTF8: "grüße-aus-köln-❄-日本語",
    QUOTED: `it's "quoted" \\and\\ $dollar \`tick\``,
    LINES: "first-line-of-kv93\n  second-line-of-kv93\n\nlast-line-of-kv93\n",
    PRIVATE_KEY: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
  };
}

/** Texts that give a value away, written by means of Node alone: each line of it, and all of it, in usual encodings. */
export function tracesOf(value: string): string[] {
  const lines = value.split("\n").map((line) => line.trim());
  const plain = [value.trim(), ...lines].filter((line) => line.length >= 8);
  return [
    ...new Set(
      plain.flatMap((text) => [
        text,
        encodeURIComponent(text),
        JSON.stringify(text).slice(1, -1),
        Buffer.from(text).toString("hex"),
        Buffer.from(text).toString("hex").toUpperCase(),
        ...["", "x", "xx"].map((before) => base64Within(before, text)),
        ...["", "x", "xx"].map((before) => base64Within(before, text).replaceAll("+", "-").replaceAll("/", "_")),
      ]),
    ),
  ].filter((trace) => trace.length >= 8);
}

/** The characters that do not depend on what comes before or after. */
function base64Within(before: string, text: string): string {
  const encoded = Buffer.from(`${before}${text}`).toString("base64");
  return encoded.slice([0, 2, 3][before.length]).replace(/.?=*$/, "");
}

/** Which of the traces are in the bytes. Long ones count from 40 characters on, as wherever they are, a piece is enough. */
export function leaksIn(bytes: Buffer, traces: readonly string[]): string[] {
  return traces.filter((trace) => bytes.includes(trace.slice(0, 40)) || bytes.includes(trace.slice(-40)));
}

/** Files below a folder that hold one of the traces, with how it begins. `apart` is passed over. */
export function filesWithLeaks(folder: string, traces: readonly string[], apart: (path: string) => boolean): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).flatMap((path) => {
    const file = join(folder, path);
    if (apart(path) || !(lstatSync(file, { throwIfNoEntry: false })?.isFile() ?? false)) return [];
    return leaksIn(readFileSync(file), traces).map((trace) => `${path}: ${trace.slice(0, 12)}…`);
  });
}

/** Processes whose arguments hold one of the traces: what anybody on the machine can see with `ps`. */
export function processesWithLeaks(traces: readonly string[]): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => leaksIn(argumentsOf(pid), traces).length > 0);
}

function argumentsOf(pid: string): Buffer {
  try {
    return readFileSync(`/proc/${pid}/cmdline`);
  } catch {
    return Buffer.alloc(0); // it has ended
  }
}
