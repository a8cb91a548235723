import type { DraftService } from "./draft.ts";

/** An image that ran beside a job. */
export interface ServiceImage {
  readonly image: string;
  readonly variables: readonly (readonly [string, string])[];
  /** `5432`, or `host:container`. */
  readonly ports: readonly string[];
}

/** The same image, started by docker where the agent has it: it ends with the task, and is ready when its first port answers. */
export function dockerService({ image, variables, ports }: ServiceImage): DraftService {
  const published = ports.map((port) => (port.includes(":") ? port : `${port}:${port}`));
  const words = [
    "exec docker run --rm",
    ...variables.map(([name]) => `-e ${name}`),
    ...published.map((port) => `-p 127.0.0.1:${port}`),
    image,
  ];
  const [first] = published;
  return {
    run: words.join(" "),
    ...(first === undefined ? {} : { ready: { tcp: first.split(":")[0] ?? "" } }),
    ...(variables.length === 0 ? {} : { env: Object.fromEntries(variables) }),
  };
}
