import type { Command } from "commander";
import { namedValues } from "./option-values.ts";

/** Values of parameters, by name, as `--param` gave them. */
export type GivenParams = Readonly<Record<string, string>>;

/** Adds `--param name=value`, which may be repeated; the last value of a name counts. */
export function withParamOption(command: Command): Command {
  return command.option(
    "--param <name=value>",
    "a value for a parameter of the pipeline; may be repeated",
    namedValues,
  );
}
