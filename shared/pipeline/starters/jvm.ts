import { narrowInputs } from "./inputs.ts";
import type { StarterPlan } from "./layout.ts";
import type { Project } from "./project.ts";

/** pom.xml at the top. */
export function mavenPlan(project: Project): StarterPlan {
  const mvn = project.has("mvnw") ? "./mvnw" : "mvn";
  const verify = {
    name: "verify",
    commands: [`${mvn} --batch-mode --no-transfer-progress -Dmaven.repo.local=.m2 verify`],
    inputs: narrowInputs(project, /^(target|\.m2)$/).globs,
    caches: { maven: ".m2" },
    more: ["# outputs: { jars: target/ }"],
  };
  return { stages: [{ name: "build", tasks: [verify] }], tools: ["java"] };
}

/** build.gradle or settings.gradle at the top, in Groovy or Kotlin. */
export function gradlePlan(project: Project): StarterPlan {
  const gradle = project.has("gradlew") ? "./gradlew" : "gradle";
  const build = {
    name: "build",
    commands: [`${gradle} --no-daemon --console=plain build`],
    inputs: narrowInputs(project, /^(build|\.gradle|\.gradle-home)$/).globs,
    caches: { gradle: ".gradle-home" },
    env: { GRADLE_USER_HOME: ".gradle-home" },
    more: ["# outputs: { jars: build/libs/ }"],
  };
  return { stages: [{ name: "build", tasks: [build] }], tools: ["java"] };
}
