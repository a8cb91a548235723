import { shellWord } from "../../../shared/shell-word.ts";
import type { Program } from "../../farm/agents/programs.ts";

/** What the script is told. */
export interface InstallerFacts {
  /** Scheme, host and port by which the caller has reached us. */
  readonly http: { readonly scheme: "http" | "https"; readonly host: Host };
  readonly grpcPort: number;
  /** Certificate of the farm's own authority; undefined without TLS. */
  readonly caPem: string | undefined;
  readonly programs: readonly Program[];
  /** What a person does when there is none for the machine. */
  readonly advice: string;
}

/** Of an address, checked. */
export interface Host {
  /** As in a URL: an IPv6 address is in brackets. */
  readonly name: string;
  readonly port: number;
}

const hostPattern = /^([A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::(\d{1,5}))?$/;

/**
 * Reads a Host header. It comes from anybody and ends up in a script that root runs: nothing passes but what names and
 * addresses are made of.
 * @returns undefined when it is anything else
 */
export function parseHost(header: string | undefined, defaultPort: number): Host | undefined {
  const match = hostPattern.exec(header ?? "");
  if (match === null) return undefined;
  const port = match[2] === undefined ? defaultPort : Number(match[2]);
  return port >= 1 && port <= 65_535 ? { name: match[1] ?? "", port } : undefined;
}

const marked = /^# filled in by the coordinator: begin$[\s\S]*^# filled in by the coordinator: end$/m;

/**
 * Fills the coordinator's facts into deploy/install.sh, as assignments of quoted text.
 * @throws Error when the script has no place for them
 */
export function fillInstaller(script: string, { http, grpcPort, caPem, programs, advice }: InstallerFacts): string {
  if (!marked.test(script)) throw new Error("deploy/install.sh has lost the lines that the coordinator fills in");
  const { name, port } = http.host;
  const values = {
    served_http: `${http.scheme}://${name}:${port}`,
    served_coordinator: `${name}:${grpcPort}`,
    served_ca: caPem?.trim() ?? "",
    served_programs: programs.map((one) => `${one.platform} ${one.name} ${one.sha256} ${one.version}`).join("\n"),
    served_advice: advice,
  };
  const lines = Object.entries(values).map(([variable, value]) => `${variable}=${shellWord(value)}`);
  // A function: in a replacement text, `$` would mean something.
  return script.replace(marked, () => lines.join("\n"));
}
