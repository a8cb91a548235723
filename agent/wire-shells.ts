import { mkdirSync } from "node:fs";
import { createClient, type Transport } from "@connectrpc/connect";
import { ShellService } from "../proto/gen/millrace/v1/shell_pb.ts";
import type { Clock } from "../shared/clock.ts";
import { diskFloorBytes, diskSpace } from "../shared/disk-space.ts";
import type { MillraceError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { removeTree } from "../shared/remove-tree.ts";
import type { NamedCaches } from "./caches/named-caches.ts";
import { layingOutExecutor } from "./executor/laying-out-executor.ts";
import { readingExecutor } from "./executor/reading-executor.ts";
import type { InputRoots } from "./input-root/input-root.ts";
import { type KeptTrees, keptTrees } from "./shell/kept-trees.ts";
import { runShell, type ShellProcessOptions } from "./shell/shell-process.ts";
import { type ShellServer, shellServer } from "./shell/shell-server.ts";
import type { LocalStore } from "./store/local-store.ts";

interface KeptParts {
  readonly data: string;
  readonly clock: Clock;
  readonly opened: AsyncDisposableStack;
}

/** What failed tasks left; nothing where the disk has less than twice the room that should be free. */
export function wireKeptTrees({ data, clock, opened }: KeptParts): KeptTrees {
  const hasRoom = () => {
    const { freeBytes, sizeBytes } = diskSpace(data);
    return freeBytes > 2 * diskFloorBytes(sizeBytes);
  };
  const kept = keptTrees({ clock, hasRoom });
  opened.defer(async () => kept.close());
  return kept;
}

interface ShellParts extends Omit<ShellProcessOptions, "spools" | "outputMaxBytes"> {
  readonly transport: Transport;
  readonly agentId: string;
  readonly folder: (name: string) => string;
  readonly kept: KeptTrees;
  readonly roots: Pick<InputRoots, "create">;
  readonly caches: Pick<NamedCaches, "hold" | "keep">;
  readonly store: LocalStore;
  readonly clock: Clock;
  readonly opened: AsyncDisposableStack;
  readonly onError: (error: MillraceError) => void;
}

/** Shells in the places of tasks, with the same walls; the folder of their output is empty then. */
export async function wireShells({
  transport,
  agentId,
  folder,
  kept,
  opened,
  ...parts
}: ShellParts): Promise<ShellServer> {
  const { roots, caches, store, clock, onError, ...confined } = parts;
  const spools = folder("shells");
  await removeTree(spools);
  mkdirSync(spools, { recursive: true });
  const shells = shellServer({
    ...{ agentId, kept, clock, onError },
    client: createClient(ShellService, transport),
    layOut: (use) => readingExecutor(layingOutExecutor(use, { roots, caches }), store),
    run: (plan, streams, stop) =>
      runShell(plan, streams, stop, { ...confined, spools, outputMaxBytes: limits.shellOutputBytes }),
  });
  opened.defer(() => shells.close());
  return shells;
}
