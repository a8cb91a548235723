// Scripts of a POSIX shell that become the process of a task.

/** Variables that shells set without having been asked for them. */
const strangeVariables = ["PWD", "OLDPWD", "SHLVL"];

/** @param {string} text */
export const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/**
 * Variables that some shell does not let be set, or sets to what it likes; shared/shell-variables.ts has them, too.
 * @public A test compares the two.
 */
export const ownVariables = Object.freeze([
  "OPTIND",
  "LINENO",
  "PPID",
  "UID",
  "EUID",
  "SHELLOPTS",
  "BASHOPTS",
  "BASH_VERSINFO",
  "SHLVL",
  "_",
]);

/** Whether every shell passes it on as it is. @param {string} name */
const isName = (name) => /^[A-Za-z_]\w*$/.test(name) && !ownVariables.includes(name);

/**
 * What gives a shell this environment. For scripts that nobody else can read: values may be secrets.
 * @param {Readonly<Record<string, string>>} environment
 */
export function exporting(environment) {
  const named = Object.entries(environment).filter(([name]) => isName(name));
  return named.map(([name, value]) => `export ${name}=${quoted(value)}; `).join("");
}

/**
 * What turns a shell that has this environment into a program that has exactly this environment.
 * @param {readonly string[]} command @param {Readonly<Record<string, string>>} environment
 */
export function becoming(command, environment) {
  const strangers = strangeVariables.filter((name) => !(name in environment));
  // A shell drops or changes variables whose names it could not use itself.
  const lost = Object.entries(environment).filter(([name]) => !isName(name));
  const lostAgain = lost.map(([name, value]) => `${name}=${value}`);
  const program = [...(lost.length === 0 ? [] : ["env", "--", ...lostAgain]), ...command];
  // As its last deed bash sets SHLVL and _ again, whatever was unset: another program must take them away.
  const cleaned = ["/usr/bin/env", "-u", "SHLVL", "-u", "_", "--", ...lostAgain, ...command];
  const words = (/** @type {readonly string[]} */ all) => all.map(quoted).join(" ");
  return `unset ${strangers.join(" ")}; [ -n "\${BASH_VERSION-}" ] && exec ${words(cleaned)}; exec ${words(program)}`;
}
