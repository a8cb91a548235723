// How the processes are started that live for weeks. As in bin/millrace.

/** Of Node: a small young generation makes an agent, which lives beside other people's work, 50 MB smaller and no slower. */
export const agentFlags: readonly string[] = ["--max-semi-space-size=1"];

/**
 * Of Node: what a coordinator makes either dies at once or waits long, and a young generation that Node lets grow to four
 * times this size keeps both. With 100,000 queued it is 100 to 200 MB smaller, and no slower.
 */
export const coordinatorFlags: readonly string[] = ["--max-semi-space-size=8"];

/**
 * The environment of an agent. Each of its threads would have a memory pool of glibc's to itself, and keep what was freed in
 * it; with two for all of them an agent is 17 MB smaller. Whoever has set it otherwise has it otherwise.
 */
export function agentEnvironment(env: Readonly<Record<string, string | undefined>>): NodeJS.ProcessEnv {
  return { MALLOC_ARENA_MAX: "2", ...env };
}
