import { Argument, Command } from "commander";
import { type Secret, SecretService } from "../../proto/gen/millrace/v1/secret_pb.ts";
import { MillraceError } from "../../shared/errors.ts";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { processConsole } from "../output/console.ts";
import { isoTime } from "../output/labels.ts";
import { table } from "../output/table.ts";
import { readSecret } from "../read-secret.ts";

interface SecretOptions extends ConnectionOptions {
  readonly project?: string;
  readonly json?: boolean;
}

interface SetOptions extends SecretOptions {
  readonly file?: string;
}

/** `millrace secret`. */
export function secretCommand(): Command {
  const command = new Command("secret").description(
    "Values that tasks are given and nobody else sees. There is no way to read one back.",
  );
  forProject(command.command("set"))
    .description("Give a secret a value, its first or a new one. Needs a token of an admin.")
    .argument("<name>", "1 to 63 of a-z, 0-9, _ and -")
    .addArgument(new Argument("[value]", "never here: everybody on this machine could read it"))
    .option("--file <file>", "take the bytes of this file (default: standard input; a terminal is asked)")
    .addHelpText(
      "after",
      '\nExamples:\n  $ printf %s "$TOKEN" | millrace secret set npm-token\n  $ millrace secret set deploy-key --file ~/.ssh/deploy',
    )
    .action(setSecret);
  forProject(command.command("list"))
    .description("List the secrets of a project by name; never what they are.")
    .addHelpText("after", "\nExample:\n  $ millrace secret list --project shop")
    .action(listSecrets);
  forProject(command.command("remove").alias("rm"))
    .description("Remove a secret. Tasks that use it wait until it is set again. Needs a token of an admin.")
    .argument("<name>", "the secret")
    .addHelpText("after", "\nExample:\n  $ millrace secret remove npm-token")
    .action(removeSecret);
  withConnectionOptions(command.command("rotate-key"))
    .description("Encrypt all values under a new key, and forget the one before. Needs a token of an admin.")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace secret rotate-key")
    .action(rotateKey);
  return command;
}

function forProject(command: Command): Command {
  return withConnectionOptions(command)
    .option("--project <name>", "whose secret it is (default: default)")
    .option("--json", "print one JSON object");
}

async function setSecret(name: string, value: string | undefined, options: SetOptions): Promise<void> {
  if (value !== undefined) {
    throw new MillraceError(
      "invalid_argument",
      `the value of ${name} is on the command line, where everybody on this machine can read it and the shell keeps it: ` +
        `give it on standard input, as in \`printf %s "$VALUE" | millrace secret set ${name}\`, or with --file. ` +
        "Take it for known, and set another one",
    );
  }
  const console = processConsole();
  const request = { project: options.project ?? "", name, value: await readSecret(name, options.file) };
  const { secret, warnings } = await withConnection(options, ({ client }) => client(SecretService).setSecret(request));
  for (const warning of warnings) console.note(`warning: ${warning}`);
  if (options.json) return console.writeJson({ ...(secret === undefined ? {} : secretJson(secret)), warnings });
  await console.write(`secret ${name} has value number ${secret?.generation}\n`);
}

async function listSecrets(options: SecretOptions): Promise<void> {
  const console = processConsole();
  const request = { project: options.project ?? "" };
  const { secrets } = await withConnection(options, ({ client }) => client(SecretService).listSecrets(request));
  if (options.json) return console.writeJson({ secrets: secrets.map(secretJson) });
  if (secrets.length === 0) return console.note("there are no secrets yet: `millrace secret set` makes one");
  const rows = secrets.map((it) => [it.name, String(it.generation), isoTime(it.setTime) ?? "", it.principal]);
  await console.write(table(["SECRET", "VALUE", "SET", "BY"], rows));
}

async function removeSecret(name: string, options: SecretOptions): Promise<void> {
  const console = processConsole();
  const request = { project: options.project ?? "", name };
  await withConnection(options, ({ client }) => client(SecretService).removeSecret(request));
  if (options.json) return console.writeJson({ removed: name });
  await console.write(`secret ${name} is removed: tasks that use it wait until it is set again\n`);
}

async function rotateKey(options: SecretOptions): Promise<void> {
  const console = processConsole();
  const { keyId, secrets } = await withConnection(options, ({ client }) => client(SecretService).rotateSecretKey({}));
  if (options.json) return console.writeJson({ keyId, secrets });
  await console.write(`${secrets} secrets are under the new key ${keyId}; backups of before need the key of before\n`);
}

function secretJson({ project, name, generation, setTime, principal }: Secret) {
  return { project, name, generation, setTime: isoTime(setTime) ?? null, principal };
}
