import type { HandlerContext } from "@connectrpc/connect";
import { traceparentOf } from "../../shared/trace-context.ts";
import type { Asker } from "../delivery/run/runs.ts";
import { principalOf } from "./guard.ts";

/** Who makes this call, and in which trace. */
export function askerOf(context: HandlerContext): Asker {
  return { principal: principalOf(context), traceparent: traceparentOf(context.requestHeader.get("traceparent")) };
}
