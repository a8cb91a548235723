import type { Projects } from "../project/projects.ts";

/** Tells when a project was changed, so that what waits for its quota has its turn at once and not when something ends. */
export function settlingProjects(base: Projects, onChange: () => void): Projects {
  return {
    list: () => base.list(),
    get: (name) => base.get(name),
    async set(asker, project, etag) {
      const record = await base.set(asker, project, etag);
      onChange();
      return record;
    },
    remove: (asker, name, etag) => base.remove(asker, name, etag),
  };
}
