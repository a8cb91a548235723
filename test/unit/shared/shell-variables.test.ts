import { expect, test, vi } from "vitest";
import { shellVariables } from "../../../shared/shell-variables.ts";

type ShellScript = { readonly ownVariables: readonly string[] };
const { ownVariables } = await vi.importActual<ShellScript>("../../../agent/runner/shell-script.mjs");

test("the variables that no secret may be in are those that the runner gives to a process as arguments", () => {
  expect([...shellVariables].sort()).toEqual([...ownVariables].sort());
});
