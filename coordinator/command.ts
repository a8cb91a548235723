import { once } from "node:events";
import { Command } from "commander";
import { pino } from "pino";
import { keepingFlags } from "../shared/keeping-flags.ts";
import { makeFolder } from "../shared/make-folder.ts";
import { readCoordinatorConfig } from "./config.ts";
import { startCoordinator } from "./wiring.ts";

/** `millrace coordinator`: the coordinator on its own, against a NATS server that runs already. */
export function coordinatorCommand(): Command {
  const command = new Command("coordinator")
    .description("Start a coordinator against a NATS server that runs already. `millrace up` starts both.")
    .option("--data <dir>", "folder for everything that must outlast a restart")
    .option("--host <address>", "address to listen on (default 127.0.0.1)")
    .option("--grpc-port <port>", "port for gRPC (default 7070; 0 takes any free one)")
    .option("--http-port <port>", "port for HTTP (default 7080; 0 takes any free one)")
    .option("--nats <url>", "NATS server, for example nats://127.0.0.1:7422")
    .option("--nats-credentials <file>", "file with the users of the NATS server")
    .option("--json", "print one JSON line when ready");
  for (const [flag, about] of keepingFlags) command.option(flag, about);
  return command
    .addHelpText(
      "after",
      "\nExample:\n  $ millrace coordinator --data /var/lib/millrace --nats nats://127.0.0.1:7422 --nats-credentials nats.json",
    )
    .action(async (flags: { json?: boolean }) => {
      const config = await readCoordinatorConfig({ flags, env: process.env });
      makeFolder(config.data);
      const log = pino({ name: "coordinator" }, pino.destination({ dest: 2, sync: true }));
      const ended = Promise.race([once(process, "SIGTERM"), once(process, "SIGINT")]);
      const coordinator = await startCoordinator(config, log);
      const ready = {
        grpc: `${config.host}:${coordinator.grpcPort}`,
        http: `http://${config.host}:${coordinator.httpPort}`,
      };
      process.stdout.write(
        flags.json ? `${JSON.stringify(ready)}\n` : `coordinator ready: gRPC ${ready.grpc}, HTTP ${ready.http}\n`,
      );
      await ended;
      log.info("stopping");
      await coordinator.stop();
    });
}
