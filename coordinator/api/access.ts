import type { DescMethod } from "@bufbuild/protobuf";
import type { Role } from "../delivery/access/principal.ts";

const people = ["admin", "developer"] as const satisfies readonly Role[];
const everybody = ["admin", "developer", "agent"] as const satisfies readonly Role[];
const agents = ["agent"] as const satisfies readonly Role[];
const newcomers = ["enrolment"] as const satisfies readonly Role[];

/** Who may call what. A service or method that is not listed may be called by an admin alone. */
const byService = new Map<string, readonly Role[] | undefined>([
  // Load balancers have no token, and the answer tells only that we serve.
  ["grpc.health.v1.Health", undefined],
  ["grpc.reflection.v1.ServerReflection", everybody],
  ["build.bazel.remote.execution.v2.Capabilities", everybody],
  ["build.bazel.remote.execution.v2.ContentAddressableStorage", everybody],
  ["build.bazel.remote.execution.v2.ActionCache", everybody],
  ["google.bytestream.ByteStream", everybody],
  ["millrace.v1.RunService", people],
  ["millrace.v1.FlowService", people],
  ["millrace.v1.LogService", people],
  ["millrace.v1.EnvironmentService", people],
  ["millrace.v1.AgentService", people],
  ["millrace.v1.PoolService", people],
]);

const byMethod = new Map<string, readonly Role[]>([
  ["millrace.v1.LogService/AppendLog", agents],
  ["millrace.v1.SecretService/ListSecrets", people],
  ["millrace.v1.AgentService/EnrolAgent", newcomers],
  ["millrace.v1.AgentService/JoinFarm", agents],
  ["millrace.v1.AgentService/FetchProgram", agents],
  ["millrace.v1.AgentService/SetAgentDraining", ["admin"]],
  ["millrace.v1.AgentService/RemoveAgent", ["admin"]],
  ["millrace.v1.PoolService/SetPool", ["admin"]],
  ["millrace.v1.PoolService/ScalePool", ["admin"]],
  ["millrace.v1.PoolService/RemovePool", ["admin"]],
  ["millrace.v1.AdminService/DescribeCoordinator", everybody],
  // An agent's results come by report, fenced by its lease; what a client uploads is recorded as the client's.
  ["build.bazel.remote.execution.v2.ActionCache/UpdateActionResult", people],
]);

/** The roles that may call a method; undefined for one that needs no token. */
export function rolesOf(method: DescMethod): readonly Role[] | undefined {
  const service = method.parent.typeName;
  const special = byMethod.get(`${service}/${method.name}`);
  if (special !== undefined) return special;
  return byService.has(service) ? byService.get(service) : ["admin"];
}
