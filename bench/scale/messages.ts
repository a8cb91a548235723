import type { AgentInfo } from "../../proto/gen/millrace/v1/agent_pb.ts";

/** What the farm under measurement is started with, as JSON on its command line. */
export interface FarmProcessOptions {
  readonly nats: { readonly url: string; readonly user: string; readonly password: string };
  /** Of its database; empty. */
  readonly folder: string;
}

/** What it is asked, one thing after another. */
export type FarmQuestion =
  | { readonly kind: "join"; readonly agents: readonly Pick<AgentInfo, "id" | "slots" | "labels" | "session">[] }
  /** So many executions that ask for these labels, spread over so many fair groups, `inFlight` at a time. */
  | {
      readonly kind: "submit";
      readonly prefix: string;
      readonly count: number;
      readonly groups: number;
      readonly labels: Readonly<Record<string, string>>;
    }
  /** One execution; its answer says when it was asked for. */
  | { readonly kind: "submit one"; readonly id: string; readonly labels: Readonly<Record<string, string>> }
  | { readonly kind: "stats" };

export interface FarmAnswer {
  readonly queued: number;
  readonly running: number;
  /** Agents that were heard and are not lost. */
  readonly online: number;
  /** Heard since the start. */
  readonly heartbeats: number;
  readonly tookMs: number;
  /** On the machine's clock, with fractions. */
  readonly askedAtMs: number;
  /** The longest that the event loop did not get its turn, since the last answer. */
  readonly stallMs: number;
}

/** The machine's clock as all processes of a bench read it, finer than a millisecond. */
export function machineNowMs(): number {
  return performance.timeOrigin + performance.now();
}
