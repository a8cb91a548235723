import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Command, Option } from "commander";
import { type Pool, PoolService, type PoolSettings, PoolSettingsSchema } from "../../proto/gen/millrace/v1/pool_pb.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { type Connection, withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { duration, namedValues, wholeNumber } from "../option-values.ts";
import { processConsole } from "../output/console.ts";
import { describePool, poolJson, poolTable } from "../output/describe-pool.ts";

interface PoolsOptions extends ConnectionOptions {
  readonly json?: boolean;
}

interface ScaleOptions extends PoolsOptions {
  readonly min?: number;
  readonly max?: number;
}

interface SetOptions extends ScaleOptions {
  readonly provider?: ProviderName;
  readonly command?: readonly string[];
  readonly targetWait?: number;
  readonly idleTimeout?: number;
  readonly joinTimeout?: number;
  readonly ephemeral?: boolean;
  readonly slots?: number;
  readonly label?: Readonly<Record<string, string>>;
}

const providerNames = ["static", "local-process", "exec"] as const;
type ProviderName = (typeof providerNames)[number];

/** `millrace pools`. */
export function poolsCommand(): Command {
  const command = withConnectionOptions(new Command("pools"))
    .description(
      "List the pools of the farm: how many agents there are, how many the work asks for, what is in the way.",
    )
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\nExamples:\n  $ millrace pools\n  $ millrace pools set linux --provider local-process --max 8\n  $ millrace pools scale linux --min 2 --max 16",
    )
    .action(listPools);
  withConnectionOptions(command.command("set"))
    .description(
      "Make a pool, or change what is named of one; the rest stays as it is. Needs a token of an operator or an admin.",
    )
    .argument("<name>", "1 to 48 of a-z, 0-9 and -; tasks ask for it with the label `pool`")
    .addOption(new Option("--provider <who>", "who starts and ends agents (default: static)").choices(providerNames))
    .option("--command <word...>", "of exec: the program on the coordinator's machine, and its first arguments")
    .option("--min <n>", "agents that are always there (default: 0)", wholeNumber)
    .option("--max <n>", "never more agents than these (default: the same as --min)", wholeNumber)
    .option("--target-wait <time>", "how long work may wait (default: 1m)", duration)
    .option("--idle-timeout <time>", "an agent that was not needed for so long goes (default: 5m)", duration)
    .option("--join-timeout <time>", "an agent that has not joined after so long is replaced (default: 5m)", duration)
    .option("--ephemeral", "each agent runs one task and ends")
    .option("--no-ephemeral", "agents run one task after the other")
    .option("--slots <n>", "tasks that each agent runs at a time (default: 1)", wholeNumber)
    .option("--label <name=value...>", "labels of its agents, besides pool; they replace those of before", namedValues)
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\nExamples:\n  $ millrace pools set linux --provider local-process --max 8 --target-wait 30s\n" +
        "  $ millrace pools set cloud --provider exec --command /opt/millrace/cloud.sh eu-1 --max 50 --ephemeral",
    )
    // An option that the list has, too, is taken by the list: hence with globals.
    .action((name: string, _options: unknown, self: Command) => setPool(name, self.optsWithGlobals()));
  withConnectionOptions(command.command("scale"))
    .description("Change how many agents a pool may have. Needs a token of an operator or an admin.")
    .argument("<name>", "the pool")
    .option("--min <n>", "agents that are always there", wholeNumber)
    .option("--max <n>", "never more agents than these", wholeNumber)
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace pools scale linux --min 2 --max 16")
    .action((name: string, _options: unknown, self: Command) => scalePool(name, self.optsWithGlobals()));
  withConnectionOptions(command.command("remove"))
    .description(
      "Let a pool's agents finish what they have, remove them, and forget the pool. Needs a token of an operator or an admin.",
    )
    .argument("<name>", "the pool")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace pools remove linux")
    .action((name: string, _options: unknown, self: Command) => removePool(name, self.optsWithGlobals()));
  return command;
}

async function listPools(options: PoolsOptions): Promise<void> {
  const console = processConsole();
  const { pools } = await withConnection(options, ({ client }) => client(PoolService).listPools({}));
  if (options.json) return console.writeJson({ pools: pools.map(poolJson) });
  if (pools.length === 0) return console.note("there are no pools yet: `millrace pools set` makes one");
  await console.write(poolTable(console.colors, pools));
}

async function setPool(name: string, options: SetOptions): Promise<void> {
  const pool = await withConnection(options, async (connection) => {
    const before = await settingsOf(connection, name);
    const settings = create(PoolSettingsSchema, changed(before ?? create(PoolSettingsSchema, { name }), options));
    return (await connection.client(PoolService).setPool({ settings })).pool;
  });
  await tell(pool, options);
}

async function scalePool(name: string, { min, max, ...options }: ScaleOptions): Promise<void> {
  if (min === undefined && max === undefined) {
    throw new MillraceError("invalid_argument", "name what to change: --min, --max, or both");
  }
  const pool = await withConnection(options, async (connection) => {
    const before = await settingsOf(connection, name);
    const bounds = { min: min ?? before?.min ?? 0, max: max ?? Math.max(before?.max ?? 0, min ?? 0) };
    return (await connection.client(PoolService).scalePool({ name, ...bounds })).pool;
  });
  await tell(pool, options);
}

async function removePool(name: string, options: PoolsOptions): Promise<void> {
  const console = processConsole();
  await withConnection(options, ({ client }) => client(PoolService).removePool({ name }));
  if (options.json) return console.writeJson({ removing: name });
  console.note(`${name} takes nothing new and goes with its last agent`);
}

async function tell(pool: Pool | undefined, options: PoolsOptions): Promise<void> {
  const console = processConsole();
  if (pool === undefined) throw new MillraceError("internal", "the coordinator answered without the pool");
  if (options.json) return console.writeJson(poolJson(pool));
  console.note(describePool(pool));
}

/** Undefined for a pool that nobody has set. */
async function settingsOf({ client }: Connection, name: string): Promise<PoolSettings | undefined> {
  try {
    return (await client(PoolService).getPool({ name })).pool?.settings;
  } catch (error) {
    if (from(error).code === "not_found") return undefined;
    throw error;
  }
}

function changed(before: PoolSettings, options: SetOptions): MessageInitShape<typeof PoolSettingsSchema> {
  const { $typeName: _, ...settings } = before;
  const { provider, command, min = before.min, max, targetWait, idleTimeout, joinTimeout, label } = options;
  return {
    ...settings,
    min,
    max: max ?? Math.max(before.max, min),
    ephemeral: options.ephemeral ?? before.ephemeral,
    slots: options.slots ?? before.slots,
    provider: providerOf(before, provider, command),
    ...(label === undefined ? {} : { labels: { ...label } }),
    ...(targetWait === undefined ? {} : { targetWait: durationFromMs(targetWait) }),
    ...(idleTimeout === undefined ? {} : { idleTimeout: durationFromMs(idleTimeout) }),
    ...(joinTimeout === undefined ? {} : { joinTimeout: durationFromMs(joinTimeout) }),
  };
}

type ProviderInit = NonNullable<Exclude<MessageInitShape<typeof PoolSettingsSchema>, PoolSettings>["provider"]>;

function providerOf(
  { provider }: PoolSettings,
  name: ProviderName | undefined,
  command: readonly string[] | undefined,
): ProviderInit {
  if (command !== undefined && name !== undefined && name !== "exec") {
    throw new MillraceError("invalid_argument", `--command is for --provider exec, not for ${name}`);
  }
  if (command !== undefined) return { case: "exec", value: { command: [...command] } };
  if (name === "exec" && provider.case !== "exec") {
    throw new MillraceError("invalid_argument", "--provider exec needs --command: the program that starts agents");
  }
  if (name === "local-process") return { case: "localProcess", value: {} };
  if (name === "static" || provider.case === undefined) return { case: "static", value: {} };
  return provider;
}
