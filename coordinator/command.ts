import { once } from "node:events";
import { Command } from "commander";
import { pino } from "pino";
import { keepingFlags } from "../shared/keeping-flags.ts";
import { makeFolder } from "../shared/make-folder.ts";
import { hostPort, isLoopback } from "../shared/network-address.ts";
import { type CoordinatorConfig, readCoordinatorConfig } from "./config.ts";
import { startCoordinator } from "./wiring.ts";

/** `millrace coordinator`: the coordinator on its own, against a NATS server that runs already. */
export function coordinatorCommand(): Command {
  const command = new Command("coordinator")
    .description("Start a coordinator against a NATS server that runs already. `millrace up` starts both.")
    .option("--data <dir>", "folder for everything that must outlast a restart")
    .option("--host <address>", "address to listen on (default: 127.0.0.1)")
    .option("--grpc-port <port>", "port for gRPC (default: 7070; 0 takes any free one)")
    .option("--http-port <port>", "port for HTTP (default: 7080; 0 takes any free one)")
    .option("--advertise <host>", "name or address that others are told to connect to (default: --host)")
    .option(
      "--tls-cert <file>",
      "certificate of your own with its chain, PEM (default: beyond loopback one of the farm's own CA)",
    )
    .option("--tls-key <file>", "key of that certificate, PEM")
    .option("--tls-dir <dir>", "folder of the farm's own CA (default: tls in --data)")
    .option("--insecure", "no TLS beyond loopback: tokens, sources and logs cross the network in the clear")
    .option("--nats <url>", "NATS server, for example nats://127.0.0.1:7422, or tls://HOST:PORT")
    .option("--agent-nats <url...>", "NATS server as agents reach it (default: --nats)")
    .option(
      "--nats-ca <ca>",
      "who vouches for a tls:// NATS server: system, or a file (default: as for the coordinator)",
    )
    .option("--nats-credentials <file>", "file with the users of the NATS server")
    .option(
      "--dist <dir>",
      "folder with the programs that agents are installed from (default: what `npm run package` made)",
    )
    .option("--lease <s>", "seconds after which a silent agent is lost (default: 10; from 1 to 600)")
    .option("--shell-idle <time>", "how long a shell stays open in which nothing happens (default: 30m)")
    .option("--secret-key-file <file>", "the key under which secrets are stored (default: secret.key in --data)")
    .option("--forget-secrets", "remove all secrets first: for a farm whose key is lost")
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
      for (const warning of inTheClear(config)) log.warn(warning);
      const ended = Promise.race([once(process, "SIGTERM"), once(process, "SIGINT")]);
      const coordinator = await startCoordinator(config, log);
      const ready = {
        grpc: hostPort(config.host, coordinator.grpcPort),
        http: `${config.tls === undefined ? "http" : "https"}://${hostPort(config.host, coordinator.httpPort)}`,
      };
      process.stdout.write(
        flags.json ? `${JSON.stringify(ready)}\n` : `coordinator ready: gRPC ${ready.grpc}, HTTP ${ready.http}\n`,
      );
      await ended;
      log.info("stopping");
      await coordinator.stop();
    });
}

/** What crosses a network unprotected, one sentence each. */
function inTheClear({ host, tls, agentBus }: CoordinatorConfig): string[] {
  const servers = agentBus.servers.filter((server) => {
    const { protocol, hostname } = new URL(server);
    return protocol === "nats:" && !isLoopback(hostname.replaceAll(/[[\]]/g, ""));
  });
  return [
    ...(tls === undefined && !isLoopback(host)
      ? [`${host} without TLS (--insecure): tokens, sources and logs cross the network in the clear`]
      : []),
    ...servers.map((server) => `${server} without TLS: assignments and results cross the network in the clear`),
  ];
}
