import type { AddEvidenceRequest, EvidenceStart } from "../../../proto/gen/millrace/v1/run_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import { digestOf } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { EvidenceFile } from "../../delivery/run/runs.ts";

/**
 * Takes a file in and puts it into the CAS. Only `finish` with the right total makes it whole.
 * @throws MillraceError invalid_argument, resource_exhausted beyond `limits.evidenceBytes`
 */
export async function receiveEvidence(
  cas: Pick<Cas, "writeMany">,
  messages: AsyncIterable<AddEvidenceRequest>,
  signal: AbortSignal,
): Promise<EvidenceFile> {
  let start: EvidenceStart | undefined;
  const chunks: Uint8Array[] = [];
  let receivedBytes = 0;
  for await (const { part } of messages) {
    if (start === undefined) {
      if (part.case !== "start") throw wrong("the first message must be `start`");
      start = part.value;
      requireName(start.name);
    } else if (part.case === "chunk") {
      receivedBytes += part.value.byteLength;
      if (receivedBytes > limits.evidenceBytes) {
        throw new MillraceError(
          "resource_exhausted",
          `a piece of evidence has at most ${limits.evidenceBytes} bytes: lay down what names it instead`,
        );
      }
      chunks.push(part.value);
    } else if (part.case === "finish") {
      if (part.value.totalBytes !== BigInt(receivedBytes)) {
        throw wrong(`\`finish\` speaks of ${part.value.totalBytes} bytes, ${receivedBytes} have arrived`);
      }
      const data = Buffer.concat(chunks);
      const digest = digestOf(data);
      await cas.writeMany([{ digest, data }], signal);
      const { run, stage, name } = start;
      return { run, stage, name, digest };
    } else throw wrong("after `start` there are only `chunk` and `finish`");
  }
  throw wrong("it ended without `finish`: nothing was added");
}

/** It becomes the name of a file where somebody fetches it. */
function requireName(name: string): void {
  const fine = /^[^/\\\p{Cc}]+$/u.test(name) && name !== "." && name !== "..";
  if (fine && name.length <= limits.evidenceNameChars) return;
  throw wrong(`"${name}" is no name of a file: give 1 to ${limits.evidenceNameChars} characters without a slash`);
}

function wrong(reason: string): MillraceError {
  return new MillraceError("invalid_argument", `evidence: ${reason}`);
}
