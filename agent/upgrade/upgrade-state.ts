import { isNewerVersion } from "../../shared/version.ts";

/** A program that the coordinator offers. */
export interface OfferedProgram {
  readonly version: string;
  /** In hexadecimal. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** Why a program was not taken. */
export interface FailedProgram extends Pick<OfferedProgram, "version" | "sha256"> {
  readonly reason: string;
}

/**
 * The life of an upgrade:
 *
 *     current ─offered▶ fetching ─fetched▶ draining ─drained▶ trying ─joined▶ taken
 *        ▲                  │                  │                 │
 *        ├──────lost────────┤                  │                 │
 *        └──────failed──────┘                  │                 └──failed──▶ kept
 *              (any of them) ──────────────ending─────────────▶ over     trying ──late──▶ postponed
 *
 * The new program is tried before it takes the old one's name: until it has joined the farm, the file that the next start
 * of this machine runs is the old one, whatever ends us. `taken`, `kept`, `postponed` and `over` are ends: the agent has
 * closed, and what runs next is the new program, the old one, or nothing. One that is postponed is tried again when the
 * old one has joined, for the farm is there then.
 */
export type UpgradeState =
  | { readonly kind: "current"; readonly failed: FailedProgram | undefined }
  | { readonly kind: "fetching"; readonly program: OfferedProgram; readonly failed: FailedProgram | undefined }
  | { readonly kind: "draining"; readonly program: OfferedProgram }
  | { readonly kind: "trying"; readonly program: OfferedProgram }
  | { readonly kind: "taken"; readonly program: OfferedProgram }
  | { readonly kind: "kept"; readonly failed: FailedProgram }
  | { readonly kind: "postponed"; readonly program: OfferedProgram }
  | { readonly kind: "over" };

export type UpgradeEvent =
  /** The coordinator has it. */
  | { readonly kind: "offered"; readonly program: OfferedProgram }
  /** It is here, whole, and runs on this machine. */
  | { readonly kind: "fetched" }
  /** It could not be fetched; a later offer may do. */
  | { readonly kind: "lost" }
  /** The agent holds nothing any more and has closed. */
  | { readonly kind: "drained" }
  /** The new program has joined the farm with our settings and data. */
  | { readonly kind: "joined" }
  /** It did not join in time, and may yet another time. */
  | { readonly kind: "late" }
  /** It is of no use here. */
  | { readonly kind: "failed"; readonly reason: string }
  /** The agent was told to end. */
  | { readonly kind: "ending" };

/** The next state. What makes no sense in a state changes nothing: an offer is repeated whenever the agent joins. */
export function advance(state: UpgradeState, event: UpgradeEvent, ownVersion: string): UpgradeState {
  if (event.kind === "ending") return isEnd(state) ? state : { kind: "over" };
  switch (state.kind) {
    case "current":
      if (event.kind !== "offered" || !isWanted(event.program, state.failed, ownVersion)) return state;
      return { kind: "fetching", program: event.program, failed: state.failed };
    case "fetching":
      if (event.kind === "fetched") return { kind: "draining", program: state.program };
      if (event.kind === "lost") return { kind: "current", failed: state.failed };
      return event.kind === "failed" ? { kind: "current", failed: failedOf(state.program, event.reason) } : state;
    case "draining":
      return event.kind === "drained" ? { kind: "trying", program: state.program } : state;
    case "trying":
      if (event.kind === "joined") return { kind: "taken", program: state.program };
      if (event.kind === "late") return { kind: "postponed", program: state.program };
      return event.kind === "failed" ? { kind: "kept", failed: failedOf(state.program, event.reason) } : state;
    case "taken":
    case "kept":
    case "postponed":
    case "over":
      return state;
    default:
      return state satisfies never;
  }
}

function isEnd({ kind }: UpgradeState): boolean {
  return kind === "taken" || kind === "kept" || kind === "postponed" || kind === "over";
}

/** One that has failed here is not tried again; another of the same version may be. */
function isWanted(program: OfferedProgram, failed: FailedProgram | undefined, ownVersion: string): boolean {
  return isNewerVersion(program.version, ownVersion) && program.sha256 !== failed?.sha256;
}

function failedOf({ version, sha256 }: OfferedProgram, reason: string): FailedProgram {
  return { version, sha256, reason };
}
