/**
 * Variables that some shell sets by itself or does not let be set. A process gets them as arguments of `env`, which
 * everybody on its machine can read: so no secret may be in one. (The runner has the same list: shell-script.mjs.)
 */
export const shellVariables: ReadonlySet<string> = new Set([
  ...["OPTIND", "LINENO", "PPID", "UID", "EUID", "SHELLOPTS", "BASHOPTS", "BASH_VERSINFO", "SHLVL", "_"],
]);
