import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { ProjectSchema } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { ProjectService } from "../../../proto/gen/millrace/v1/project_pb.ts";
import { reaches } from "../../delivery/access/principal.ts";
import type { Projects } from "../../delivery/project/projects.ts";
import { askerOf } from "../asker.ts";
import { principalOf } from "../guard.ts";

/** ProjectService: what runs belong to. */
export function projectService(projects: Projects): ServiceImpl<typeof ProjectService> {
  return {
    listProjects: (_request, context) => ({
      projects: projects.list().filter(({ project }) => reaches(principalOf(context), project?.name ?? "")),
    }),

    getProject: ({ name }) => ({ project: projects.get(name) }),

    async setProject({ project, etag }, context) {
      return { project: await projects.set(askerOf(context), project ?? create(ProjectSchema), etag) };
    },

    async removeProject({ name, etag }, context) {
      await projects.remove(askerOf(context), name, etag);
      return {};
    },
  };
}
