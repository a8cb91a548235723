// How an agent's process is started: it lives for weeks beside other people's work. As in bin/millrace.

/** Of Node: a small young generation makes an agent 50 MB smaller, and no slower. */
export const agentFlags: readonly string[] = ["--max-semi-space-size=1"];

/**
 * The environment of an agent. Each of its threads would have a memory pool of glibc's to itself, and keep what was freed in
 * it; with two for all of them an agent is 17 MB smaller. Whoever has set it otherwise has it otherwise.
 */
export function agentEnvironment(env: Readonly<Record<string, string | undefined>>): NodeJS.ProcessEnv {
  return { MALLOC_ARENA_MAX: "2", ...env };
}
