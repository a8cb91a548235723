import { z } from "zod";
import { MillraceError } from "./errors.ts";

/** Where settings come from, the strongest first: the command line, then the environment, then the schema's defaults. */
export interface ConfigSources {
  /** As commander gives them, by camelCase name. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Marks a setting whose value must never be repeated in a message: `z.string().meta(secret)`. */
export const secret = { secret: true } as const;

/**
 * Reads a command's settings, checks all of them and reports every problem at once, so that a person mends a
 * configuration in one go.
 *
 * The schema is the one description of a setting: the field's name gives the flag and the variable (`grpcPort` is
 * `--grpc-port` and `MILLRACE_GRPC_PORT`), its `describe` text says what is right, in the words of the message:
 *
 *     const schema = z.object({
 *       grpcPort: port.default(7070).describe("the port for gRPC, 0 to 65535"),
 *       data: z.string().describe("the folder for everything that must outlast a restart, such as /var/lib/millrace"),
 *     });
 *     const { grpcPort, data } = readConfig(schema, { flags: command.opts(), env: process.env });
 *
 * Values from outside are text, so fields must accept text (`port`, `z.coerce.number()`, `z.stringbool()`). An empty
 * variable counts as not set. Rules between settings are `refine`s of the object, with `path` naming the field at fault;
 * zod checks them once the fields are right.
 * @throws MillraceError invalid_argument with one line a problem.
 */
export function readConfig<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  { flags, env }: ConfigSources,
): z.output<z.ZodObject<Shape>> {
  const names = Object.keys(schema.shape);
  const given: Record<string, unknown> = {};
  for (const name of names) given[name] = flags[name] ?? (env[variableOf(name)] || undefined);
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const lines = result.error.issues.map(({ path, message }) => {
    const name = names.find((each) => each === path[0]);
    return name === undefined
      ? `  ${message}`
      : problem(name, { value: given[name], message, about: aboutOf(schema, name) });
  });
  const heading = lines.length === 1 ? "a setting is wrong" : `${lines.length} settings are wrong`;
  throw new MillraceError("invalid_argument", [`${heading}:`, ...lines].join("\n"));
}

/** A TCP port; 0 lets the system choose one. */
export const port = z.coerce
  .string()
  .regex(/^\d+$/, "not a whole number")
  .transform(Number)
  .pipe(z.number().max(65_535, "above 65535"));

interface Problem {
  readonly value: unknown;
  /** From the schema. */
  readonly message: string;
  readonly about: { readonly isSecret: boolean; readonly right: string | undefined };
}

function problem(name: string, { value, message, about }: Problem): string {
  const wrong =
    value === undefined ? "is not set" : `${about.isSecret ? "its value" : JSON.stringify(value)} is wrong: ${message}`;
  const right = about.right === undefined ? "" : `; it is ${about.right}`;
  return `  ${flagOf(name)} (or ${variableOf(name)}): ${wrong}${right}`;
}

function aboutOf<Shape extends z.ZodRawShape>(schema: z.ZodObject<Shape>, name: string): Problem["about"] {
  const meta = z.globalRegistry.get(schema.shape[name] as unknown as z.ZodType);
  return { isSecret: meta?.["secret"] === true, right: meta?.description };
}

/** `grpcPort` → `--grpc-port`. */
function flagOf(name: string): string {
  return `--${words(name).join("-")}`;
}

/** `grpcPort` → `MILLRACE_GRPC_PORT`. */
function variableOf(name: string): string {
  return `MILLRACE_${words(name).join("_").toUpperCase()}`;
}

function words(name: string): string[] {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`).split(" ");
}
