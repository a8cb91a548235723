// What a starter says, and how that is written down as YAML.

/** One task of a starter. Paths and globs as a pipeline file has them. */
export interface StarterTask {
  readonly name: string;
  readonly commands: readonly string[];
  /** Above the task, each a line without its `#`. */
  readonly notes?: readonly string[];
  /** Default: the whole source. */
  readonly inputs?: readonly string[];
  readonly outputs?: Readonly<Record<string, string>>;
  /** Names of artifacts; `name at path` where one does not land at its name. */
  readonly use?: readonly string[];
  readonly caches?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Lines of YAML below the rest, for example a suggestion as a comment. */
  readonly more?: readonly string[];
}

/** One stage of a starter. */
export interface StarterStage {
  readonly name: string;
  readonly needs?: readonly string[];
  readonly tasks: readonly StarterTask[];
}

/** What one kind of project comes to. */
export interface StarterPlan {
  readonly stages: readonly StarterStage[];
  /** Tools that every task asks for, so that another one makes another key. */
  readonly tools?: readonly string[];
}

const lineChars = 100;

/** The lines of `defaults` and `stages`. Lists of inputs that several tasks share are written once. */
export function planLines({ stages, tools = [] }: StarterPlan): string[] {
  const shared = sharedInputs(stages);
  const anchored = new Set<string>();
  const defaults = tools.map((tool) => `${tool}: any`).join(", ");
  return [
    ...(tools.length === 0
      ? []
      : ["defaults:", `  tools: { ${defaults} } # a task runs again when one is replaced`, ""]),
    "stages:",
    ...stages.flatMap(({ name, needs, tasks }) => [
      `  ${name}:`,
      ...(needs === undefined ? [] : [`    needs: [${needs.join(", ")}]`]),
      "    tasks:",
      ...tasks.flatMap((task) => taskLines(task, shared, anchored)),
    ]),
  ];
}

/** Lists, as text, that more than one task has. */
function sharedInputs(stages: readonly StarterStage[]): ReadonlyMap<string, string> {
  const counts = new Map<string, number>();
  for (const { inputs = [] } of stages.flatMap(({ tasks }) => tasks)) {
    const key = JSON.stringify(inputs);
    if (inputs.length > 2) counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const repeated = [...counts].filter(([, count]) => count > 1).map(([key]) => key);
  return new Map(repeated.map((key, index) => [key, index === 0 ? "source" : `source${index + 1}`]));
}

function taskLines(task: StarterTask, shared: ReadonlyMap<string, string>, anchored: Set<string>): string[] {
  const { name, commands, notes = [], inputs, outputs, use, caches, env, more = [] } = task;
  return [
    ...notes.map((note) => `      # ${note}`),
    `      ${name}:`,
    ...(commands.length === 1 && isPlain(commands[0] ?? "")
      ? [`        run: ${commands[0]}`]
      : ["        run: |", ...commands.flatMap((command) => command.split("\n").map((line) => `          ${line}`))]),
    ...(inputs === undefined ? [] : inputLines(inputs, shared, anchored)),
    ...(use === undefined || use.length === 0 ? [] : [`        use: [${use.map(usedText).join(", ")}]`]),
    ...recordLine("outputs", outputs),
    ...recordLine("caches", caches),
    ...recordLine("env", env),
    ...more.map((line) => `        ${line}`),
  ];
}

function inputLines(inputs: readonly string[], shared: ReadonlyMap<string, string>, anchored: Set<string>): string[] {
  const anchor = shared.get(JSON.stringify(inputs));
  if (anchor !== undefined && anchored.has(anchor)) return [`        inputs: *${anchor}`];
  if (anchor !== undefined) anchored.add(anchor);
  const key = anchor === undefined ? "inputs:" : `inputs: &${anchor}`;
  const line = `        ${key} [${inputs.map((glob) => yamlText(glob, true)).join(", ")}]`;
  if (line.length <= lineChars) return [line];
  return [`        ${key}`, ...inputs.map((glob) => `          - ${yamlText(glob, false)}`)];
}

function usedText(used: string): string {
  const [artifact = "", path] = used.split(" at ");
  return path === undefined ? artifact : `{ artifact: ${artifact}, path: ${yamlText(path, true)} }`;
}

function recordLine(key: string, record: Readonly<Record<string, string>> | undefined): string[] {
  const entries = Object.entries(record ?? {}).map(([name, value]) => `${name}: ${yamlText(value, true)}`);
  return entries.length === 0 ? [] : [`        ${key}: { ${entries.join(", ")} }`];
}

/** A scalar, quoted where YAML would read something else. @param flow whether it stands in `[…]` or `{…}` */
function yamlText(text: string, flow: boolean): string {
  return isPlain(text) && !text.includes("*") && !(flow && /[,[\]{}]/.test(text)) ? text : JSON.stringify(text);
}

function isPlain(text: string): boolean {
  return /^[A-Za-z0-9_./][^\n]*$/.test(text) && !/: |:$| #|\s$|^(true|false|null|~)$/i.test(text);
}
