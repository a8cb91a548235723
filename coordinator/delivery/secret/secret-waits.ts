import type { PlannedTask } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { SecretValues } from "./secret-values.ts";
import { setCommand } from "./set-command.ts";

/** A task that may have to wait for a secret. */
export interface SecretUser {
  readonly project: string;
  readonly planned: Pick<PlannedTask, "secrets">;
}

/** Tasks that wait until somebody sets a secret. */
export interface SecretWaits {
  /** Why the task cannot be executed yet, for a person; undefined when it can. */
  reason(user: SecretUser): string | undefined;
  /**
   * Calls `again` once, when the first secret that it lacks is set; at once when none is lacking any more.
   * @param id of the task among all; a second call for it takes the place of the first
   */
  watch(id: string, user: SecretUser, again: () => void): void;
  /** It does not wait any more. */
  leave(id: string): void;
  close(): void;
}

interface Waiting {
  readonly secret: string;
  readonly again: () => void;
}

export function secretWaits(secrets: Pick<SecretValues, "missing" | "subscribe">): SecretWaits {
  /** By the task's id. Bounded by the tasks that wait. */
  const waiting = new Map<string, Waiting>();
  const unsubscribe = secrets.subscribe((project, name) => {
    for (const [id, { secret, again }] of waiting) {
      if (secret !== keyOf(project, name)) continue;
      waiting.delete(id);
      again();
    }
  });

  function lacking({ project, planned }: SecretUser): string[] {
    return secrets.missing(project, [...new Set(planned.secrets.map(({ secret }) => secret))]);
  }

  return {
    reason(user) {
      const names = lacking(user);
      if (names.length === 0) return undefined;
      const [first = ""] = names;
      const what =
        names.length === 1 ? `the secret ${first} has no value` : `the secrets ${names.join(", ")} have no value`;
      return `${what}: \`${setCommand({ project: user.project, name: first })}\``;
    },
    watch(id, user, again) {
      const [first] = lacking(user);
      if (first === undefined) again();
      else waiting.set(id, { secret: keyOf(user.project, first), again });
    },
    leave: (id) => void waiting.delete(id),
    close: unsubscribe,
  };
}

function keyOf(project: string, name: string): string {
  return `${project}/${name}`;
}
