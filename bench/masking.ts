import { randomBytes } from "node:crypto";
import { limits } from "../shared/limits.ts";
import { type MaskStream } from "../shared/masking/mask-stream.ts";
import { masking } from "../shared/masking/masking.ts";
import type { Figure, Measured } from "./bench.ts";

const samples = 5;
const textBytes = 64 * 1024 * 1024;

/** How fast the output of a task goes through the masking of its secrets, in the chunks in which it is sent. */
export async function masks(): Promise<Measured> {
  const secrets = Array.from({ length: 20 }, (_, index) => ({
    name: `secret-${index}`,
    value: Buffer.from(randomBytes(20).toString("hex")),
  }));
  const key = { name: "key", value: Buffer.from(randomBytes(2_400).toString("base64").replaceAll(/.{64}/g, "$&\n")) };
  const plain = "src/checkout.test.ts: 41 passed, 0 failed (0.213 s) in lorem ipsum dolor sit amet\n";
  const escaped = 'GET /cart?item=%2Fbooks%2F17&note=a%20b 200 {"path":"C:\\\\shop","text":"one\\ntwo"}\n';
  const hidden = { many: masking(secrets), key: masking([...secrets, key]) };
  return {
    figures: [
      figure("20 secrets, output of a test", ">= 150", () => hidden.many.stream(), plain),
      figure("20 secrets and a private key, output of a test", ">= 150", () => hidden.key.stream(), plain),
      figure("20 secrets, output full of escapes", "", () => hidden.many.stream(), escaped),
    ],
  };
}

function figure(name: string, target: string, open: () => MaskStream, line: string): Figure {
  const chunk = Buffer.alloc(limits.logChunkBytes, line);
  const rates: number[] = [];
  for (let sample = 0; sample < samples; sample += 1) {
    const stream = open();
    const started = performance.now();
    for (let bytes = 0; bytes < textBytes; bytes += chunk.byteLength) stream.push(chunk);
    stream.end();
    rates.push(textBytes / 1e6 / ((performance.now() - started) / 1000));
  }
  return { name, unit: "MB/s", samples: rates, target };
}
