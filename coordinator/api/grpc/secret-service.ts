import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { type Secret, SecretSchema, type SecretService } from "../../../proto/gen/millrace/v1/secret_pb.ts";
import { limits } from "../../../shared/limits.ts";
import { maskability } from "../../../shared/masking/forms.ts";
import { type ProjectView, projectNamed } from "../../delivery/project/projects.ts";
import type { SecretInfo, Secrets } from "../../delivery/secret/secrets.ts";
import { principalOf } from "../guard.ts";

export interface SecretServiceDeps {
  readonly secrets: Secrets;
  readonly projects: Pick<ProjectView, "hold">;
}

/** SecretService: which secrets there are, and their values on the way in. */
export function secretService({ secrets, projects }: SecretServiceDeps): ServiceImpl<typeof SecretService> {
  return {
    async setSecret({ project, name, value }, context) {
      const named = { project: projectNamed(project), name };
      const release = projects.hold(named.project); // or says that there is none
      try {
        const info = await secrets.set(named, value, principalOf(context).name);
        return { secret: secretMessage(info), warnings: warningsOf(name, value) };
      } finally {
        release();
      }
    },

    listSecrets: ({ project }) => ({ secrets: secrets.list(projectNamed(project)).map(secretMessage) }),

    async removeSecret({ project, name }, context) {
      await secrets.remove({ project: projectNamed(project), name }, principalOf(context).name);
      return {};
    },

    async rotateSecretKey() {
      return await secrets.rotateKey();
    },
  };
}

function secretMessage({ project, name, generation, setMs, setBy }: SecretInfo): Secret {
  return create(SecretSchema, { project, name, generation, setTime: timestampFromMs(setMs), principal: setBy });
}

function warningsOf(name: string, value: Uint8Array): string[] {
  const masked = maskability(value);
  if (masked === "none") return [`${name} is too short to be masked: logs show it where a task prints it`];
  if (masked === "good") return [];
  const short = `${name}, or a line of it, has fewer than ${limits.maskedValueBytesMin} characters`;
  return [
    `${short}: it is masked where it means something else, too, or not at all below ${limits.maskedFormBytesMin}`,
  ];
}
