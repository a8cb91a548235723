import type { Project, ProjectQuotas } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { ProjectRecord } from "../../../proto/gen/millrace/v1/project_pb.ts";
import type { Asker } from "../run/runs.ts";

/** The project of runs that name none; it cannot be removed. */
export const defaultProject = "default";

/** The project that a request means; one that names none means `default`. */
export function projectNamed(name: string): string {
  return name === "" ? defaultProject : name;
}

/** Projects, as the faces of the product use them. Methods may be called concurrently. */
export interface Projects {
  /** By name; `default` is always among them. */
  list(): readonly ProjectRecord[];
  /** Throws `not_found`, with the name that was probably meant. */
  get(name: string): ProjectRecord;
  /**
   * Makes it, or changes all of it; resolves when that is durable. An empty etag is for a new one. Throws
   * `invalid_argument` with every problem (BadRequest), `already_exists`, `not_found`, `aborted` for an old etag, and
   * `resource_exhausted` beyond `limits.projects`.
   */
  set(asker: Asker, project: Project, etag: string): Promise<ProjectRecord>;
  /**
   * Resolves when it is durable; an empty etag means however it stands. Throws `not_found`, `aborted`, and
   * `failed_precondition` for `default`, while runs of it have not finished, and while it has secrets.
   */
  remove(asker: Asker, name: string, etag: string): Promise<void>;
}

/** What the rest of the coordinator asks of projects: answered from memory, at once. */
export interface ProjectView {
  /** Undefined when there is none (any more). */
  find(name: string): Project | undefined;
  /** All 0 for a project without bounds of its own, and for one that was removed. */
  quotasOf(name: string): ProjectQuotas;
  /** Empty is the common zone, which is also that of a project that was removed. */
  cacheZoneOf(name: string): string;
  /**
   * For a run or a secret that is being made: until it is released, the project cannot be removed. Throws `not_found`, with the name
   * that was probably meant.
   */
  hold(name: string): () => void;
}
