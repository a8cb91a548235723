import { narrowInputs } from "./inputs.ts";
import type { StarterPlan, StarterTask } from "./layout.ts";
import { type Project, present } from "./project.ts";

/** Endings of files that the compiler reads. */
const endings = ["go", "s", "S", "c", "h", "cc", "cpp", "hpp", "syso"];
/** Files in which embedded ones are looked for. */
const sourcesRead = 2_000;

/** go.mod or go.work at the top. */
export function goPlan(project: Project): StarterPlan {
  const lists = present(project, ["go.mod", "go.sum", "go.work", "go.work.sum"]);
  const asks = /^\s*require\b/m.test(project.text("go.mod")) || project.has("go.work");
  const apart = asks && !project.hasFolder("vendor");
  const inputs = goInputs(project, lists);
  const offline = apart ? ["export GOMODCACHE=$PWD/.modules GOFLAGS=-mod=mod GOPROXY=off"] : [];
  const test: StarterTask = {
    name: "test",
    commands: ["export GOCACHE=$PWD/.go-build", ...offline, "go build ./...", "go test ./..."],
    inputs,
    ...(apart ? { use: ["modules at .modules"] } : {}),
    caches: { "go-build": ".go-build" },
  };
  const verify = {
    name: "verify",
    ...(apart ? { needs: ["prepare"] } : {}),
    tasks: [test],
  };
  if (!apart) return { stages: [verify], tools: ["go"] };
  const dependencies: StarterTask = {
    name: "dependencies",
    notes: ["Runs again when one of these files changes; everything after it needs no network."],
    commands: ["export GOMODCACHE=$PWD/modules GOFLAGS=-modcacherw", "go mod download"],
    inputs: [...lists, ...(project.has("go.work") ? ["**/go.mod", "**/go.sum"] : [])],
    outputs: { modules: "modules/" },
  };
  return { stages: [{ name: "prepare", tasks: [dependencies] }, verify], tools: ["go"] };
}

/** What the compiler and the tests read; what is embedded may have any ending, and then it is all but documents. */
function goInputs(project: Project, lists: readonly string[]): readonly string[] {
  const sources = project.files.filter((path) => path.endsWith(".go")).slice(0, sourcesRead);
  if (sources.some((path) => /^\/\/go:embed /m.test(project.text(path)))) return narrowInputs(project).globs;
  const found = endings.filter((ending) => project.files.some((path) => path.endsWith(`.${ending}`)));
  const testdata = project.files.some((path) => /(^|\/)testdata\//.test(path)) ? ["**/testdata/**"] : [];
  return [...lists, ...found.map((ending) => `**/*.${ending}`), ...testdata];
}
