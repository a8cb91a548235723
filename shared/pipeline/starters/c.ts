import { narrowInputs, stubCommands } from "./inputs.ts";
import type { StarterPlan } from "./layout.ts";
import { firstOf, type Project } from "./project.ts";

// C, C++ and what else is built by CMake, Meson, a configure script or a Makefile. What is built and what tests it are one
// task: another one would start from the sources again.

/** CMakeLists.txt at the top. */
export function cmakePlan(project: Project): StarterPlan {
  const inputs = narrowInputs(project, leaveOut);
  const commands = [
    ...stubCommands(inputs),
    "cmake -S . -B build -DCMAKE_BUILD_TYPE=Release",
    "cmake --build build --parallel 2",
    "ctest --test-dir build --output-on-failure",
  ];
  return plan("test", commands, inputs.globs, ["cmake", ...compilers(project)], ["# outputs: { build: build/ }"]);
}

/** meson.build at the top. */
export function mesonPlan(project: Project): StarterPlan {
  const inputs = narrowInputs(project, leaveOut);
  const commands = [...stubCommands(inputs), "meson setup build", "meson test -C build --print-errorlogs"];
  return plan("test", commands, inputs.globs, compilers(project));
}

/** A Makefile, or what makes one: `configure`, or `configure.ac` of autotools. */
export function makePlan(project: Project): StarterPlan {
  const inputs = narrowInputs(project, leaveOut);
  const configure = project.has("configure")
    ? ["./configure"]
    : firstOf(project, ["configure.ac", "configure.in"]) === undefined
      ? []
      : ["autoreconf --install", "./configure"];
  const sources = ["Makefile.am", "Makefile.in", "GNUmakefile", "makefile", "Makefile"];
  const makefile = sources.map(project.text).find((text) => text !== "") ?? "";
  const target = ["check", "test", "tests"].find((name) =>
    new RegExp(`^(\\S+\\s+)*${name}\\s*:(?!=)`, "m").test(makefile),
  );
  // automake makes `check` of what Makefile.am lists.
  const check = target ?? (project.has("Makefile.am") ? "check" : undefined);
  const commands = [...stubCommands(inputs), ...configure, "make", ...(check === undefined ? [] : [`make ${check}`])];
  return plan("make", commands, inputs.globs, ["make", ...compilers(project)]);
}

const leaveOut = /^(build|cmake-build-.*|builddir|out)$/;

function plan(
  name: string,
  commands: string[],
  inputs: readonly string[],
  tools: string[],
  more: string[] = [],
): StarterPlan {
  return { stages: [{ name: "build", tasks: [{ name, commands, inputs, more }] }], tools };
}

/** Those that the endings of the sources ask for. */
function compilers({ files }: Project): string[] {
  const c = files.some((path) => path.endsWith(".c"));
  const cpp = files.some((path) => /\.(cc|cpp|cxx)$/.test(path));
  return [...(c ? ["gcc"] : []), ...(cpp ? ["g++"] : [])];
}
