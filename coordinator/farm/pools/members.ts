/**
 * Where an agent of a pool stands:
 *
 *     asked → joined → leaving → removing → gone
 *       |        |_________________↑|
 *       |__________________________↑      (never joined, no longer wanted, its process ended)
 *               ↑__________|              (wanted again while it still finished something)
 *
 * `asked` is on disk before the provider hears of it. From `leaving` on it is given no work. It is `gone` when the
 * provider has removed it and does not name it any more, and it is not heard either: so no process outlives its row, and
 * no row its process.
 */
export type MemberState = "asked" | "joined" | "leaving" | "removing";

/** An agent that a pool has asked for. */
export interface Member {
  readonly id: string;
  readonly state: MemberState;
  /** Wall time of the request for it: its row is older than this start of the coordinator, perhaps. */
  readonly askedMs: number;
}

/** A member's agent, as the farm sees it. */
export interface AgentSight {
  /** Its heartbeats come. */
  readonly isHeard: boolean;
  /** A person drains it, or it drains by itself. */
  readonly isDraining: boolean;
  /** For how long it was not heard. */
  readonly silentMs: number;
  /** Executions that it has. */
  readonly holds: number;
}

/** All that decides what a pool does next. */
export interface PoolSight {
  /** What the work asks for now: fewer are added to. An agent that ends by itself is not replaced for its own sake. */
  readonly needed: number;
  /** What the last idle time-out asked for at most: more are taken away from. Never less than `needed`. */
  readonly desired: number;
  /** Of members in any state. */
  readonly max: number;
  readonly ephemeral: boolean;
  readonly joinTimeoutMs: number;
  readonly members: readonly Member[];
  /** Undefined for one that never joined, or has left and was forgotten. */
  readonly agent: (id: string) => AgentSight | undefined;
  /** What the provider has named after its last call; undefined when it was not asked since. */
  readonly listed: ReadonlySet<string> | undefined;
  /** Members that the provider was asked for long enough ago to name them. */
  readonly isSettled: (id: string) => boolean;
  /** Members that the provider has removed. */
  readonly isRemoved: (id: string) => boolean;
  readonly nowMs: number;
}

/** What a pool does next. */
export interface PoolSteps {
  /** Members with their new state. */
  readonly moves: readonly Member[];
  /** Rows that nothing stands behind any more. */
  readonly gone: readonly string[];
  /** New members to ask for. */
  readonly add: number;
  /** Why members were given up that never joined. */
  readonly failures: readonly string[];
}

/** Pure; the order of the members does not matter. */
export function nextSteps(sight: PoolSight): PoolSteps {
  const failures: string[] = [];
  const gone: string[] = [];
  const moved = new Map<string, MemberState>();
  const now = sight.members.flatMap((member): Member[] => {
    if (isGone(member, sight)) {
      gone.push(member.id);
      return [];
    }
    const next = nextState(member, sight);
    if (next.failure !== undefined) failures.push(next.failure);
    if (next.state !== member.state) moved.set(member.id, next.state);
    return [{ ...member, state: next.state }];
  });
  const add = resize(now, sight, (id, state) => moved.set(id, state));
  const moves = sight.members.flatMap((member) => {
    const state = moved.get(member.id);
    return state === undefined || state === member.state ? [] : [{ ...member, state }];
  });
  return { moves, gone, add, failures };
}

function isGone({ id, state }: Member, { agent, isRemoved, listed }: PoolSight): boolean {
  return state === "removing" && isRemoved(id) && listed?.has(id) === false && agent(id)?.isHeard !== true;
}

interface NextState {
  readonly state: MemberState;
  readonly failure?: string;
}

/** What becomes of it by itself, whatever the size of the pool. */
function nextState({ id, state, askedMs }: Member, sight: PoolSight): NextState {
  const agent = sight.agent(id);
  const isHeard = agent?.isHeard === true;
  const hasEnded = sight.isSettled(id) && sight.listed?.has(id) === false;
  switch (state) {
    case "asked":
      if (isHeard) return { state: "joined" };
      if (hasEnded) return { state: "removing", failure: `${id} ended before it joined` };
      if (sight.nowMs - askedMs < sight.joinTimeoutMs) return { state };
      return { state: "removing", failure: `${id} did not join within ${Math.round(sight.joinTimeoutMs / 1000)} s` };
    case "joined":
    case "leaving":
      if (!isHeard && (agent === undefined || hasEnded || agent.silentMs >= sight.joinTimeoutMs))
        return { state: "removing" };
      return { state: state === "leaving" && isHeard && agent.holds === 0 ? "removing" : state };
    case "removing":
      return { state };
    default:
      return state satisfies never;
  }
}

/** Members that are to leave or to stay after all; returns how many new ones to ask for. */
function resize(now: readonly Member[], sight: PoolSight, move: (id: string, state: MemberState) => void): number {
  const staying = now.filter(({ state }) => state === "asked" || state === "joined");
  const serving = staying.filter(({ id, state }) => state === "asked" || isServing(sight.agent(id)));
  const shortage = sight.needed - serving.length;
  if (shortage > 0) {
    const back = now.filter(({ id, state }) => state === "leaving" && sight.agent(id)?.isHeard === true);
    for (const { id } of back.slice(0, shortage)) move(id, "joined");
    return Math.max(0, Math.min(shortage - back.length, sight.max - now.length));
  }
  const victims = staying.filter(({ id }) => !sight.ephemeral || (sight.agent(id)?.holds ?? 0) === 0);
  victims.sort((a, b) => worth(a, sight) - worth(b, sight) || (a.id < b.id ? 1 : -1));
  for (const { id, state } of victims.slice(0, Math.max(0, staying.length - sight.desired))) {
    move(id, state === "asked" ? "removing" : "leaving");
  }
  return 0;
}

function isServing(agent: AgentSight | undefined): boolean {
  return agent?.isHeard === true && !agent.isDraining;
}

/** The least goes first: what takes no work anyway, what is not there yet, then who holds the least. */
function worth({ id, state }: Member, sight: PoolSight): number {
  const agent = sight.agent(id);
  if (state === "joined" && !isServing(agent)) return -2;
  return state === "asked" || agent === undefined ? -1 : agent.holds;
}
