import { defaultProject } from "../project/projects.ts";
import type { SecretName } from "./secrets.ts";

/** What a person types to give a secret its value. */
export function setCommand({ project, name }: SecretName): string {
  return `millrace secret set ${name}${project === defaultProject ? "" : ` --project ${project}`}`;
}
