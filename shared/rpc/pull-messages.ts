import { Code, ConnectError } from "@connectrpc/connect";

/** The part of a grpc-js call, of either side, that gives messages. */
export interface MessageSource {
  on(event: "data", listener: (message: unknown) => void): unknown;
  on(event: "end", listener: () => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  pause(): unknown;
  resume(): unknown;
}

/**
 * The messages of a grpc-js call, one at a time, with back-pressure.
 *
 * Not the call's own iterator: leaving that one early destroys the whole call, so a handler could not answer before its
 * client has finished; and it ends as if all were well when the other side was cut off. Here an `end` is believed only
 * after one turn of the loop, when a cancellation that caused it has become visible in the signal.
 */
export function pullMessages<T>(source: MessageSource, signal: AbortSignal): AsyncGenerator<T> {
  const queue: T[] = [];
  let ended = false;
  let failure: Error | undefined;
  let wake = (): void => {};
  const woken = (): void => wake();
  source.on("data", (message) => {
    queue.push(message as T);
    source.pause();
    wake();
  });
  source.on("end", () => {
    ended = true;
    wake();
  });
  source.on("error", (error) => {
    failure = error;
    wake();
  });
  // Listening starts here and not at the first pull: an error that comes before it must find a listener.
  signal.addEventListener("abort", woken);

  async function* messages(): AsyncGenerator<T> {
    try {
      for (;;) {
        const message = queue.shift();
        if (message !== undefined) {
          yield message;
          continue;
        }
        if (failure !== undefined) throw failure;
        if (signal.aborted) throw cutOff(signal);
        if (ended) {
          await new Promise((resolve) => setImmediate(resolve));
          if (signal.aborted || failure !== undefined) continue;
          return;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
          source.resume();
        });
      }
    } finally {
      signal.removeEventListener("abort", woken);
      source.pause();
    }
  }
  source.pause();
  return messages();
}

function cutOff(signal: AbortSignal): ConnectError {
  return ConnectError.from(signal.reason ?? "the call was cut off", Code.Canceled);
}
