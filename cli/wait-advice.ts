import { WaitCause } from "../proto/gen/millrace/v1/event_pb.ts";

/** What a person can do about a wait; empty where waiting is all there is to do, or nothing is known of the cause. */
export function waitAdvice(cause: WaitCause, run: string): string {
  switch (cause) {
    case WaitCause.AGENTS_BUSY:
      return "start more agents, or give it a greater `priority:`";
    case WaitCause.NO_AGENT_MATCHES:
      return "start an agent that offers this, or ask for less; `millrace agents` lists what there is";
    case WaitCause.AGENT_LOST:
      return `bring the agent back, or end the run with \`millrace cancel ${run}\``;
    case WaitCause.AGENT_DRAINING:
      return "`millrace agents resume AGENT` lets it have work again";
    case WaitCause.POOL_SCALING:
      return "`millrace pools` says how the pool stands";
    case WaitCause.GATE:
      return `\`millrace approve ${run} STAGE\` or \`millrace reject ${run} STAGE\``;
    case WaitCause.PAUSED:
      return `\`millrace resume ${run}\` lets it go on`;
    case WaitCause.CONCURRENCY:
      return "wait for its turn, or cancel what holds the place";
    case WaitCause.QUOTA:
      return "wait for its turn, or raise the quota with `millrace project set`";
    case WaitCause.SECRET:
      return "`millrace secret set NAME` gives the secret a value";
    default:
      return "";
  }
}
