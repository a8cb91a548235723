import { Code, ConnectError } from "@connectrpc/connect";
import { expect, it } from "vitest";
import { describeError } from "../../../cli/report-error.ts";
import { unreachable } from "../../../cli/unreachable.ts";

it.each([
  [
    "No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: ",
    "the connection is refused",
  ],
  ["Name resolution failed for target dns:farm:7070", "no machine is known by that name"],
  [
    "No connection established. Last error: Protocol error (2026-11-30T20:49:46.564Z). Resolution note: ",
    "what listens there does not speak gRPC, which has a port of its own",
  ],
  ["something else", "something else"],
])("a call that found nobody says where it went and why: %s", (text, reason) => {
  const error = new ConnectError(text, Code.Unavailable);
  expect(describeError(unreachable("farm:7070", error))).toBe(
    `millrace: no coordinator answers at farm:7070: ${reason}\n` +
      "Is the coordinator running? Start one with `millrace up --detach`, or name another with --address.\n",
  );
});
