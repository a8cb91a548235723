import { Command, CommanderError } from "commander";
import { version } from "../shared/version.ts";
import { exitStatus } from "./exit-status.ts";

/** A command of the program, imported only when it is called. */
export interface CommandEntry {
  readonly name: string;
  /** For the list of commands; the command's own description says more. */
  readonly summary: string;
  load(): Promise<Command>;
}

/**
 * Parses the arguments and runs the command they name. Never throws and never exits: it sets `process.exitCode`, so that
 * what was written still gets out.
 */
export async function runProgram(entries: readonly CommandEntry[], args: readonly string[]): Promise<void> {
  endQuietlyWhenReaderLeaves();
  try {
    const program = await composeProgram(entries, args);
    await program.parseAsync([...args], { from: "user" });
  } catch (error) {
    process.exitCode = await statusFor(error);
  }
}

/** The program with the one command that is called loaded, and the others as lines of the help. */
async function composeProgram(entries: readonly CommandEntry[], args: readonly string[]): Promise<Command> {
  const program = new Command("millrace")
    .description("From a change to value in a customer's hands: a build farm and delivery pipeline.")
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "show this help")
    .helpCommand(false)
    .exitOverride()
    .addHelpText(
      "after",
      "\nExamples:\n  $ millrace up --detach         # a farm on this machine\n  $ millrace run examples/shop   # on it",
    );
  const called = args.find((arg) => !arg.startsWith("-"));
  for (const entry of entries) {
    if (entry.name === called) {
      const command = await entry.load();
      inheritSettings(command, program);
      program.addCommand(command);
    } else {
      program.command(entry.name).description(entry.summary);
    }
  }
  return program;
}

function inheritSettings(command: Command, parent: Command): void {
  command.copyInheritedSettings(parent).helpOption("-h, --help", "show this help").helpCommand(false);
  for (const child of command.commands) inheritSettings(child, command);
}

async function statusFor(error: unknown): Promise<number> {
  // Help and version come as errors with the code 0; all else that commander throws is wrong usage, and said already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitStatus.success : exitStatus.usage;
  if (process.env.MILLRACE_DEBUG === "1") console.error(error);
  const [{ describeError }, { exitStatusOf }] = await Promise.all([
    import("./report-error.ts"),
    import("./exit-status.ts"),
  ]);
  process.stderr.write(describeError(error));
  return exitStatusOf(error);
}

/** `millrace runs | head`: the reader has what it wanted; that is no failure and no reason for a stack. */
function endQuietlyWhenReaderLeaves(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      // oxlint-disable-next-line unicorn/no-process-exit -- nothing more can be written, and whatever still runs is for it
      if (error.code === "EPIPE") process.exit(exitStatus.success);
      throw error;
    });
  }
}
