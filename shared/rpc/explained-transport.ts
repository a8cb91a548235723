import { Code, ConnectError } from "@connectrpc/connect";
import type { MillraceError } from "../errors.ts";
import type { ClosableTransport } from "./grpc-transport.ts";

/**
 * Says why a server cannot be reached at all: gRPC calls it `unavailable` and would have everybody try again for ever when
 * it is TLS that does not fit. Asks until the first answer; from then on the two fit together, and what happens is an outage.
 * @param explain is given the error; undefined when it knows no better reason; must not throw
 */
export function explainedTransport(
  base: ClosableTransport,
  explain: (error: unknown) => Promise<MillraceError | undefined>,
): ClosableTransport {
  let answered = false;
  async function explained(error: unknown): Promise<never> {
    if (ConnectError.from(error).code !== Code.Unavailable) answered = true;
    // As it is, and not as an error of Connect: it did not come from the server.
    throw (answered ? undefined : await explain(error)) ?? error;
  }
  async function* messages<T>(source: AsyncIterable<T>): AsyncGenerator<T> {
    try {
      for await (const message of source) {
        answered = true;
        yield message;
      }
    } catch (error) {
      await explained(error);
    }
  }
  return {
    close: () => base.close(),
    wasConnected: () => base.wasConnected(),
    async unary(...call) {
      const response = await base.unary(...call).catch(explained);
      answered = true;
      return response;
    },
    async stream(...call) {
      const response = await base.stream(...call).catch(explained);
      return { ...response, message: messages(response.message) };
    },
  };
}
