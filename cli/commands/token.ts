import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Command, Option } from "commander";
import {
  AdminService,
  type DescribeCoordinatorResponse,
  Role,
  type Token,
} from "../../proto/gen/millrace/v1/admin_pb.ts";
import { isLoopback } from "../../shared/network-address.ts";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { duration } from "../option-values.ts";
import { processConsole } from "../output/console.ts";
import { isoTime } from "../output/labels.ts";
import { table } from "../output/table.ts";

interface TokenOptions extends ConnectionOptions {
  readonly json?: boolean;
}

interface CreateOptions extends TokenOptions {
  readonly role: keyof typeof roles;
  readonly name?: string;
  readonly ttl?: number;
  readonly pool?: string;
  readonly ephemeral?: boolean;
  readonly user?: string;
  readonly project?: readonly string[];
}

const roles = {
  viewer: Role.VIEWER,
  developer: Role.DEVELOPER,
  approver: Role.APPROVER,
  operator: Role.OPERATOR,
  admin: Role.ADMIN,
  agent: Role.AGENT,
} as const;

const roleNames = new Map<Role, string>(Object.entries(roles).map(([name, role]) => [role, name]));

/** `millrace token`. */
export function tokenCommand(): Command {
  const command = new Command("token").description(
    "Give and take the right to use the farm. Needs a token of an admin.",
  );
  withConnectionOptions(command.command("create"))
    .description(
      "Make a token and print it; it is shown this once and kept by nobody.\n" +
        "With the role agent it lets one agent in, once; the agent then has keys of its own.",
    )
    .addOption(new Option("--role <role>", "what it may do").choices(Object.keys(roles)).makeOptionMandatory())
    .option("--user <name>", "the person who gets it: several tokens of one person act as one")
    .option("--project <name...>", "in which projects alone it may act (default: in all)")
    .option("--name <name>", "to know it by: 1 to 64 of a-z, 0-9 and -")
    .option(
      "--ttl <time>",
      "how long it lives, as 90s, 10m or 12h (default: 1h for an agent's, else until it is revoked)",
      duration,
    )
    .option("--pool <name>", "of an agent's token: the pool of the agent that it lets in (default: default)")
    .option("--ephemeral", "of an agent's token: the agent runs one task and ends")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\nExamples:\n  $ millrace token create --role developer --user anna --project shop --ttl 12h\n" +
        "  $ millrace token create --role agent --pool linux",
    )
    .action(createToken);
  withConnectionOptions(command.command("list"))
    .description("List the tokens by name; never what they are.")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace token list")
    .action(listTokens);
  withConnectionOptions(command.command("revoke"))
    .description("Refuse a token from now on.")
    .argument("<name>", "the token's name")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace token revoke anna-laptop")
    .action(revokeToken);
  return command;
}

async function createToken(flags: CreateOptions): Promise<void> {
  const { role, name = "", ttl, pool = "", ephemeral = false, user = "", project = [], ...options } = flags;
  const console = processConsole();
  const wanted = { role: roles[role], name, pool, ephemeral, user, projects: [...project] };
  const request = ttl === undefined ? wanted : { ...wanted, ttl: durationFromMs(ttl) };
  const { secret, token, coordinator } = await withConnection(options, async ({ client }) => {
    const admin = client(AdminService);
    const made = await admin.createToken(request);
    return { ...made, coordinator: role === "agent" ? await admin.describeCoordinator({}) : undefined };
  });
  const install = coordinator === undefined ? "" : installLine(coordinator, secret);
  if (options.json) {
    const expireTime = isoTime(token?.expireTime);
    return console.writeJson({
      token: secret,
      name: token?.name,
      role,
      ...whoseJson(token),
      ...(role === "agent" ? { pool: token?.pool, ephemeral: token?.ephemeral } : {}),
      ...(expireTime === undefined ? {} : { expireTime }),
      ...(install === "" ? {} : { install }),
    });
  }
  console.note(`${token?.name}, role ${role}; shown this once:`);
  await console.write(`${secret}\n`);
  if (coordinator === undefined) return;
  console.note(`\nOn the machine that shall be an agent, as root (--help of the script says more):\n${install}`);
  if (isLoopback(new URL(coordinator.installerUrl).hostname.replaceAll(/[[\]]/g, ""))) {
    console.note(
      "\nThis farm can be reached from its own machine alone; for others start it with `millrace up --host ADDRESS`.",
    );
  }
}

/** With the pin, curl trusts that very server and no other, although it does not know who vouches for it. */
function installLine({ installerUrl, installerKeyPin }: DescribeCoordinatorResponse, token: string): string {
  const trust = installerKeyPin === "" ? "-fsS" : `-fsSk --pinnedpubkey '${installerKeyPin}'`;
  return `curl ${trust} ${installerUrl} | sh -s -- --token ${token}`;
}

async function listTokens(options: TokenOptions): Promise<void> {
  const console = processConsole();
  const { tokens } = await withConnection(options, ({ client }) => client(AdminService).listTokens({}));
  const known = tokens.map(({ name, role, createTime, expireTime, pool, ephemeral, usedBy, ...whose }) => ({
    name,
    role: roleNames.get(role) ?? "unknown",
    ...whoseJson(whose),
    createTime: isoTime(createTime),
    expireTime: isoTime(expireTime),
    ...(pool === "" ? {} : { pool, ephemeral }),
    ...(usedBy === "" ? {} : { usedBy }),
  }));
  if (options.json) return console.writeJson({ tokens: known });
  const rows = known.map(({ name, role, user = "", projects = [], createTime, expireTime, pool = "", usedBy = "" }) => [
    name,
    role,
    user,
    projects.join(", "),
    createTime ?? "",
    expireTime ?? "never",
    pool,
    usedBy,
  ]);
  await console.write(table(["TOKEN", "ROLE", "USER", "PROJECTS", "CREATED", "EXPIRES", "POOL", "USED BY"], rows));
}

/** What is not said is left out: the token stands for itself, or is for all projects. */
function whoseJson({ user, projects }: Partial<Pick<Token, "user" | "projects">> = {}) {
  return {
    ...(user === undefined || user === "" ? {} : { user }),
    ...(projects === undefined || projects.length === 0 ? {} : { projects }),
  };
}

async function revokeToken(name: string, options: TokenOptions): Promise<void> {
  const console = processConsole();
  await withConnection(options, ({ client }) => client(AdminService).revokeToken({ name }));
  if (options.json) return console.writeJson({ revoked: name });
  console.note(`${name} is revoked`);
}
