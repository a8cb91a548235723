import { expect, test, vi } from "vitest";
import { shellVariables } from "../../../shared/shell-variables.ts";

type ShellScript = {
  becoming(command: readonly string[], environment: Readonly<Record<string, string>>): string;
};
const { becoming } = await vi.importActual<ShellScript>("../../../agent/runner/shell-script.mjs");

test("the variables that no secret may be in are those that the runner gives to a process as arguments", () => {
  const others = [
    "TOKEN",
    "HOME",
    "PATH",
    "PWD",
    "IFS",
    "ENV",
    "RANDOM",
    "SECONDS",
    "GROUPS",
    "BASH",
    "PS4",
    "HISTCMD",
  ];
  const asArguments = [...shellVariables, ...others].filter((name) =>
    becoming(["true"], { [name]: "the-value" }).includes("the-value"),
  );
  expect(asArguments).toEqual([...shellVariables]);
});
