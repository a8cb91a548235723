import { narrowInputs, stubCommands } from "./inputs.ts";
import type { StarterPlan, StarterTask } from "./layout.ts";
import { type Project, present } from "./project.ts";

/** Cargo.toml at the top. */
export function cargoPlan(project: Project): StarterPlan {
  const locked = project.has("Cargo.lock") ? " --locked" : "";
  const inputs = narrowInputs(project, /^(target|\.cargo-home)$/);
  const task = (name: string, command: string, more: readonly string[] = []): StarterTask => ({
    name,
    commands: [...stubCommands(inputs), "export CARGO_HOME=$PWD/.cargo-home", command],
    inputs: inputs.globs,
    caches: { cargo: ".cargo-home", target: "target" },
    more,
  });
  const tasks = [
    task("test", `cargo test${locked}`),
    {
      ...task("release", `cargo build --release${locked}`),
      caches: { cargo: ".cargo-home" },
      more: ["# outputs: { program: target/release/my-program }"],
    },
  ];
  return { stages: [{ name: "build", tasks }], tools: ["cargo"] };
}

/** Gemfile at the top: RSpec where there is a `spec` folder, otherwise Rake. */
export function rubyPlan(project: Project): StarterPlan {
  const rspec = project.hasFolder("spec") || project.has(".rspec");
  const test: StarterTask = {
    name: "test",
    commands: ["bundle install", rspec ? "bundle exec rspec" : "bundle exec rake test"],
    inputs: narrowInputs(project, /^(vendor|coverage)$/).globs,
    caches: { bundle: ".bundle-path" },
    env: { BUNDLE_PATH: ".bundle-path" },
  };
  return { stages: [{ name: "verify", tasks: [test] }] };
}

/** composer.json at the top. */
export function phpPlan(project: Project): StarterPlan {
  const dependencies: StarterTask = {
    name: "dependencies",
    commands: ["composer install --no-interaction --no-progress --no-scripts"],
    inputs: present(project, ["composer.json", "composer.lock"]),
    outputs: { vendor: "vendor/" },
    caches: { composer: ".composer-cache" },
    env: { COMPOSER_CACHE_DIR: ".composer-cache" },
  };
  const scripted = /"test"\s*:/.test(project.text("composer.json"));
  const test: StarterTask = {
    name: "test",
    commands: [scripted ? "composer run test" : "vendor/bin/phpunit"],
    inputs: narrowInputs(project, /^vendor$/).globs,
    use: ["vendor"],
  };
  return {
    stages: [
      { name: "prepare", tasks: [dependencies] },
      { name: "verify", needs: ["prepare"], tasks: [test] },
    ],
  };
}

/** Tests of shell scripts by bats. */
export function batsPlan(project: Project): StarterPlan {
  const folders = new Set(
    project.files.filter((path) => path.endsWith(".bats")).map((path) => path.split("/")[0] ?? ""),
  );
  const places = [...folders].map((name) => (project.hasFolder(name) ? name : `./${name}`));
  const commands = [`bats --recursive ${places.join(" ")}`];
  return { stages: [{ name: "verify", tasks: [{ name: "test", commands, inputs: narrowInputs(project).globs }] }] };
}

/** Where nothing was recognised: a pipeline that runs, to be filled in. */
export function genericPlan(): StarterPlan {
  return {
    stages: [
      {
        name: "build",
        tasks: [
          {
            name: "compile",
            commands: ["mkdir -p out", "echo 'replace this by the commands that build your project' > out/result.txt"],
            more: [
              '# inputs: ["src/**"]       # what the task reads; without it, the whole source',
              "outputs: { app: out/ }     # what it makes, by name",
              "# timeout: 10m",
              "# env: { LEVEL: quick }",
              "# agents: { os: linux }    # labels that the agent must have",
            ],
          },
        ],
      },
      {
        name: "verify",
        needs: ["build"],
        tasks: [
          {
            name: "test",
            commands: ["cat app/result.txt"],
            inputs: [],
            more: ["use: [app]                 # lands at app/"],
          },
        ],
      },
    ],
  };
}
