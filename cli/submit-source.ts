import type { MessageInitShape } from "@bufbuild/protobuf";
import type { RunRequestSchema } from "../proto/gen/millrace/v1/run_pb.ts";
import { lacksBlobs } from "../shared/cas/missing-blobs.ts";
import { askAgain } from "./ask-again.ts";
import { checkoutOf } from "./checkout.ts";
import type { Connection } from "./connection.ts";
import { submitWithProgress } from "./submit-with-progress.ts";
import { type UploadSourceOptions, uploadSource } from "./upload-source.ts";

export interface SubmitSourceOptions extends Omit<UploadSourceOptions, "assumeLast"> {
  readonly dir: string;
  readonly run: MessageInitShape<typeof RunRequestSchema>;
  /** Its pipeline file is in TypeScript, which an agent evaluates first. */
  readonly isTypeScript?: boolean;
}

/**
 * Uploads a folder as it is now and starts a run of it; gives the run's name. The coordinator is asked only about what
 * is new since the last snapshot, and looks by itself whether it has the rest. If not, because it is another one than
 * last time or has evicted something since, it refuses, and is asked about everything. One that goes away meanwhile and
 * comes back is sent what it lacks then, and asked again: by the request's idempotency key there is one run.
 */
export async function submitSource(
  connection: Pick<Connection, "transport" | "runs">,
  options: SubmitSourceOptions,
): Promise<string> {
  const { dir, run, signal, isTypeScript, console } = options;
  const checkout = checkoutOf(dir, signal); // beside the upload
  const again = <T>(ask: (attempt: AbortSignal) => Promise<T>) => askAgain(connection, ask, options);
  const submit = async (assumeLast: boolean) => {
    const source = await again((attempt) => uploadSource(connection, dir, { ...options, signal: attempt, assumeLast }));
    const git = await checkout;
    const request = { run, source, ...(git === undefined ? {} : { checkout: git }) };
    if (isTypeScript !== true)
      return (await again((attempt) => connection.runs.submitRun(request, { signal: attempt }))).run;
    return await submitWithProgress(connection, request, { signal, console, first: "asking for the evaluation" });
  };
  return await submit(true).catch((error: unknown) => {
    if (!lacksBlobs(error)) throw error;
    return submit(false);
  });
}
