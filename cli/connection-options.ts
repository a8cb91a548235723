import { type Command, Option } from "commander";

/** Options of every command that talks to a coordinator. */
export interface ConnectionOptions {
  readonly address?: string;
  readonly token?: string;
  readonly tlsCa?: string;
}

/** Adds --address, --token and --tls-ca. */
export function withConnectionOptions(command: Command): Command {
  return command
    .addOption(new Option("--address <host:port>", "the coordinator's gRPC address (env: MILLRACE_ADDRESS)"))
    .addOption(new Option("--token <token>", "the right to use it (env: MILLRACE_TOKEN)"))
    .addOption(
      new Option(
        "--tls-ca <ca>",
        "who vouches for it where its tokens do not: system, or a file (env: MILLRACE_TLS_CA)",
      ),
    );
}
