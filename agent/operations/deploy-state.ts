/** What is journaled before it is taken. */
export type DeployStep =
  | "fetching"
  | "stopping"
  | "flipping"
  | "starting"
  | "probing"
  | "back-stopping"
  | "back-flipping"
  | "back-starting"
  | "back-probing"
  | "succeeded"
  | "failed";

/**
 * Where a deployment stands:
 *
 *     fetching → stopping → flipping → starting → probing → succeeded
 *      |    |        |_________|__________|_________| (it failed, was cancelled, or the lease ran out)
 *      |    |                        ↓
 *      |    |        back-stopping → back-flipping → back-starting → back-probing → failed
 *      |    |                              |____ (there is no release to go back to) ___↑
 *      |    +→ succeeded (just this release is in place, and healthy)
 *      +→ failed (nothing was touched)
 *
 * Every step can be taken again: an agent that comes back takes the journaled one once more and goes on from there.
 */
export interface DeployState {
  readonly step: DeployStep;
  /** Why it failed, for a person. */
  readonly reason: string;
  /** Somebody asked for the end of the run, and that is why it failed. */
  readonly cancelled: boolean;
  readonly wentBack: boolean;
  /** Whether what is in place at the end answered its probe. */
  readonly healthy: boolean;
}

/** What came of a step. */
export type StepResult =
  | { readonly kind: "done" }
  /** Of `fetching`: there is nothing to do. */
  | { readonly kind: "unchanged" }
  | { readonly kind: "failed"; readonly reason: string; readonly cancelled?: boolean };

export const firstState: DeployState = {
  step: "fetching",
  reason: "",
  cancelled: false,
  wentBack: false,
  healthy: false,
};

/** Whether no step follows. */
export function isFinal({ step }: DeployState): boolean {
  return step === "succeeded" || step === "failed";
}

/** Whether the step is on the way back; nobody can cancel that. */
export function isBack(step: DeployStep): boolean {
  return step.startsWith("back-");
}

const following: Readonly<Record<DeployStep, DeployStep>> = {
  fetching: "stopping",
  stopping: "flipping",
  flipping: "starting",
  starting: "probing",
  probing: "succeeded",
  "back-stopping": "back-flipping",
  "back-flipping": "back-starting",
  "back-starting": "back-probing",
  "back-probing": "failed",
  succeeded: "succeeded",
  failed: "failed",
};

/** The state after a step. `hasPrevious` says whether a verified release was in place when the deployment began. */
export function nextState(state: DeployState, result: StepResult, hasPrevious: boolean): DeployState {
  if (isFinal(state)) return state;
  if (isBack(state.step)) return nextBack(state, result, hasPrevious);
  if (result.kind === "failed") {
    const failed = { ...state, reason: result.reason, cancelled: result.cancelled ?? false };
    return state.step === "fetching"
      ? { ...failed, step: "failed", healthy: hasPrevious }
      : { ...failed, step: "back-stopping", wentBack: true };
  }
  const step = result.kind === "unchanged" ? "succeeded" : following[state.step];
  return { ...state, step, healthy: step === "succeeded" };
}

function nextBack(state: DeployState, result: StepResult, hasPrevious: boolean): DeployState {
  if (result.kind === "failed") {
    const reason = `${state.reason}; going back failed as well: ${result.reason}`;
    // The old release comes back even where the new one's last process could not be ended.
    return { ...state, reason, step: state.step === "back-stopping" ? "back-flipping" : "failed" };
  }
  if (state.step === "back-flipping" && !hasPrevious) return { ...state, step: "failed" };
  return { ...state, step: following[state.step], healthy: state.step === "back-probing" };
}
