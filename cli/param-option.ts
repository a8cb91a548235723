import { type Command, InvalidArgumentError } from "commander";

/** Values of parameters, by name, as `--param` gave them. */
export type GivenParams = Readonly<Record<string, string>>;

/** Adds `--param name=value`, which may be repeated; the last value of a name counts. */
export function withParamOption(command: Command): Command {
  return command.option(
    "--param <name=value>",
    "a value for a parameter of the pipeline; may be repeated",
    collect,
    {},
  );
}

function collect(text: string, before: GivenParams): GivenParams {
  const at = text.indexOf("=");
  if (at <= 0) throw new InvalidArgumentError("Write it as name=value.");
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
