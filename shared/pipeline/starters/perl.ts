import { narrowInputs, stubCommands } from "./inputs.ts";
import type { StarterPlan } from "./layout.ts";
import type { Project } from "./project.ts";

/** Makefile.PL, Build.PL, or nothing but tests under `t/`. */
export function perlPlan(project: Project): StarterPlan {
  const inputs = narrowInputs(
    project,
    /^(xt|eg|examples?|MANIFEST.*|META\.(json|yml)|SIGNATURE|blib|local|dist\.ini|weaver\.ini|perlcritic\.rc|\.perl.*|tidyall\.ini|\.proverc|perltidy\.rc)$/,
  );
  const steps = project.has("Makefile.PL")
    ? ["perl Makefile.PL", "make", "make test"]
    : project.has("Build.PL")
      ? ["perl Build.PL", "./Build", "./Build test"]
      : [`prove --recurse ${project.hasFolder("lib") ? "--lib " : ""}t`];
  return {
    stages: [
      {
        name: "verify",
        tasks: [
          {
            name: "test",
            notes: [
              "Modules are those of the agent. Others: `cpanm --local-lib local --installdeps .` before the rest,",
              "with `export PERL5LIB=$PWD/local/lib/perl5` and `caches: { cpan: .cpanm }`.",
            ],
            commands: [...stubCommands(inputs), ...steps],
            inputs: inputs.globs,
          },
        ],
      },
    ],
    tools: ["perl"],
  };
}
