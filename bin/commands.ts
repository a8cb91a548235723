import type { CommandEntry } from "../cli/program.ts";

/**
 * Runs the command that the arguments of this process name. Everything is imported only when it is needed: the rest would
 * cost every call of the command line a quarter of a second.
 */
export async function runMillrace(): Promise<void> {
  if (process.connected) (await import("../cli/up/stop-with-parent.ts")).stopWithParent();
  const { runProgram } = await import("../cli/program.ts");
  await runProgram(entries, process.argv.slice(2));
}

/** All commands, in the order in which they are listed. */
export const entries: readonly CommandEntry[] = [
  {
    name: "run",
    summary: "run the pipeline of a folder and follow it",
    load: async () => (await import("../cli/commands/run.ts")).runCommand(),
  },
  {
    name: "runs",
    summary: "list runs, newest first",
    load: async () => (await import("../cli/commands/runs.ts")).runsCommand(),
  },
  {
    name: "show",
    summary: "show one run: its tasks, why they wait, how they ended",
    load: async () => (await import("../cli/commands/show.ts")).showCommand(),
  },
  {
    name: "logs",
    summary: "print the output of a run or of one task",
    load: async () => (await import("../cli/commands/logs.ts")).logsCommand(),
  },
  {
    name: "shell",
    summary: "open a shell where a task was executed",
    load: async () => (await import("../cli/commands/shell.ts")).shellCommand(),
  },
  {
    name: "cancel",
    summary: "ask for the end of a run",
    load: async () => (await import("../cli/commands/cancel.ts")).cancelCommand(),
  },
  {
    name: "retry",
    summary: "execute tasks of a run once more",
    load: async () => (await import("../cli/commands/retry.ts")).retryCommand(),
  },
  {
    name: "pause",
    summary: "let no further task of a run begin",
    load: async () => (await import("../cli/commands/pause.ts")).pauseCommand(),
  },
  {
    name: "resume",
    summary: "let a paused run go on",
    load: async () => (await import("../cli/commands/pause.ts")).resumeCommand(),
  },
  {
    name: "skip",
    summary: "leave out a task of a run, or a gate",
    load: async () => (await import("../cli/commands/skip.ts")).skipCommand(),
  },
  {
    name: "comment",
    summary: "say something about a run or a task",
    load: async () => (await import("../cli/commands/comment.ts")).commentCommand(),
  },
  {
    name: "approve",
    summary: "approve at the gate of a manual stage",
    load: async () => (await import("../cli/commands/decide.ts")).approveCommand(),
  },
  {
    name: "reject",
    summary: "reject at the gate of a manual stage",
    load: async () => (await import("../cli/commands/decide.ts")).rejectCommand(),
  },
  {
    name: "evidence",
    summary: "lay files beside a gate, and fetch them",
    load: async () => (await import("../cli/commands/evidence.ts")).evidenceCommand(),
  },
  {
    name: "why",
    summary: "say why the tasks of a run wait",
    load: async () => (await import("../cli/commands/why.ts")).whyCommand(),
  },
  {
    name: "flow",
    summary: "show where the time of runs went, and the bottleneck",
    load: async () => (await import("../cli/commands/flow.ts")).flowCommand(),
  },
  {
    name: "artifacts",
    summary: "list or fetch what a run has made",
    load: async () => (await import("../cli/commands/artifacts.ts")).artifactsCommand(),
  },
  {
    name: "env",
    summary: "show what is deployed in an environment",
    load: async () => (await import("../cli/commands/env.ts")).envCommand(),
  },
  {
    name: "project",
    summary: "make projects, and say what belongs to them",
    load: async () => (await import("../cli/commands/project.ts")).projectCommand(),
  },
  {
    name: "agents",
    summary: "list the agents of the farm; drain, resume and remove them",
    load: async () => (await import("../cli/commands/agents.ts")).agentsCommand(),
  },
  {
    name: "pools",
    summary: "list the pools of the farm; set, scale and remove them",
    load: async () => (await import("../cli/commands/pools.ts")).poolsCommand(),
  },
  {
    name: "token",
    summary: "give and take the right to use the farm",
    load: async () => (await import("../cli/commands/token.ts")).tokenCommand(),
  },
  {
    name: "secret",
    summary: "set, list and remove secrets of projects",
    load: async () => (await import("../cli/commands/secret.ts")).secretCommand(),
  },
  {
    name: "audit",
    summary: "show who changed what, and that nobody changed the record",
    load: async () => (await import("../cli/commands/audit.ts")).auditCommand(),
  },
  {
    name: "admin",
    summary: "back up and restore a farm, and keep it in order",
    load: async () => {
      const { adminCommand } = await import("../cli/commands/admin.ts");
      return adminCommand({
        restore: async (options) => (await import("../coordinator/restore.ts")).restoreCoordinator(options),
      });
    },
  },
  {
    name: "doctor",
    summary: "check this machine and the farm, with what to do",
    load: async () => (await import("../cli/commands/doctor.ts")).doctorCommand(),
  },
  {
    name: "validate",
    summary: "check a pipeline file; all problems at once",
    load: async () => (await import("../cli/commands/validate.ts")).validateCommand(),
  },
  {
    name: "graph",
    summary: "draw a pipeline file",
    load: async () => (await import("../cli/commands/graph.ts")).graphCommand(),
  },
  {
    name: "init",
    summary: "write a starter pipeline for the project found here",
    load: async () => (await import("../cli/commands/init.ts")).initCommand(),
  },
  {
    name: "schema",
    summary: "print the JSON Schema of pipeline files",
    load: async () => (await import("../cli/commands/schema.ts")).schemaCommand(),
  },
  {
    name: "up",
    summary: "start a coordinator, NATS and agents on this machine",
    load: async () => (await import("../cli/commands/up.ts")).upCommand(),
  },
  {
    name: "down",
    summary: "stop the farm that up started",
    load: async () => (await import("../cli/commands/down.ts")).downCommand(),
  },
  {
    name: "coordinator",
    summary: "start a coordinator on its own",
    load: async () => (await import("../coordinator/command.ts")).coordinatorCommand(),
  },
  {
    name: "agent",
    summary: "start an agent on its own",
    load: async () => (await import("../agent/command.ts")).agentCommand(),
  },
];
