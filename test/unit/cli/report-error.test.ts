import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { describeError } from "../../../cli/report-error.ts";
import { BadRequestSchema } from "../../../proto/gen/google/rpc/error_details_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";

test("what is wrong with a field is said once", () => {
  const refused = (message: string, fields: readonly string[]) => {
    const fieldViolations = fields.map((field) => ({ field, description: `wrong at ${field}` }));
    const cause = new ConnectError(message, Code.InvalidArgument, undefined, [
      { desc: BadRequestSchema, value: { fieldViolations } },
    ]);
    return describeError(new MillraceError("invalid_argument", message, { cause }));
  };
  expect(refused("name: wrong at name", ["name"])).toBe("millrace: name: wrong at name\n");
  expect(refused("2 problems", ["a:1:1", "a:2:1"])).toBe(
    "millrace: 2 problems\n  a:1:1: wrong at a:1:1\n  a:2:1: wrong at a:2:1\n",
  );
});
