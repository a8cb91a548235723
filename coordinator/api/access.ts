import type { DescMethod, MessageShape } from "@bufbuild/protobuf";
import {
  ActionCache,
  Capabilities,
  ContentAddressableStorage,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ByteStream } from "../../proto/gen/google/bytestream/bytestream_pb.ts";
import { Health } from "../../proto/gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../../proto/gen/grpc/reflection/v1/reflection_pb.ts";
import { AdminService } from "../../proto/gen/millrace/v1/admin_pb.ts";
import { AgentService } from "../../proto/gen/millrace/v1/agent_pb.ts";
import { AuditService } from "../../proto/gen/millrace/v1/audit_pb.ts";
import { EnvironmentService } from "../../proto/gen/millrace/v1/environment_pb.ts";
import { FlowService } from "../../proto/gen/millrace/v1/flow_pb.ts";
import { LogService } from "../../proto/gen/millrace/v1/log_pb.ts";
import { PoolService } from "../../proto/gen/millrace/v1/pool_pb.ts";
import { ProjectService } from "../../proto/gen/millrace/v1/project_pb.ts";
import { RunService } from "../../proto/gen/millrace/v1/run_pb.ts";
import { SecretService } from "../../proto/gen/millrace/v1/secret_pb.ts";
import { ShellService } from "../../proto/gen/millrace/v1/shell_pb.ts";
import type { Right } from "../delivery/access/rights.ts";
import { projectNamed } from "../delivery/project/projects.ts";

/**
 * What a call is about, from its request (of a stream of requests: the first one).
 *
 * - `project`, `run`, `environment`: by name; who does not reach its project is refused.
 * - `farm`: what belongs to no project; a token that is bound to projects is refused.
 * - `any`: nothing of one project, or several, of which the service shows those that the caller reaches.
 */
export type Subject =
  | { readonly kind: "project" | "run" | "environment"; readonly name: string }
  | { readonly kind: "farm" }
  | { readonly kind: "any" };

/** What a method needs of its caller, and whether its calls are recorded. */
export interface Access {
  /** Undefined: open to everybody, also without a token. */
  readonly right: Right | undefined;
  readonly subjectOf: (request: unknown) => Subject;
  /** What else this very request needs; undefined for most. */
  readonly alsoOf: (request: unknown) => Right | undefined;
  /** It changes something, and people make it: each call is recorded. */
  readonly audited: boolean;
  /**
   * What it was about, for the record, from the request and, once there is one, the answer. Never a secret. A stream of
   * answers gives none.
   */
  readonly targetOf: (request: unknown, answer: unknown) => string;
}

interface Row<Request, Answer> {
  readonly subject?: (request: Request) => Subject;
  readonly also?: (request: Request) => Right | undefined;
  readonly audited?: boolean;
  readonly target?: (request: Request, answer: Answer | undefined) => string;
}

const any: Subject = { kind: "any" };
const farm: Subject = { kind: "farm" };
const onFarm = () => farm;
const project = (name: string): Subject => ({ kind: "project", name: projectNamed(name) });
const aRun = (name: string): Subject => ({ kind: "run", name });
const ofProject = (request: { readonly project: string }) => project(request.project);
const secretName = ({ name }: { readonly name: string }) => name;
const ofRun = ({ run }: { readonly run: string }) => aRun(run);

function row<M extends DescMethod>(
  method: M,
  right: Right | undefined,
  more: Row<MessageShape<M["input"]>, Partial<MessageShape<M["output"]>>> = {},
) {
  const { subject = () => any, also = () => undefined, audited = false, target } = more;
  type Request = MessageShape<M["input"]>;
  type Answer = Partial<MessageShape<M["output"]>> | undefined;
  const named = (request: Request): string => {
    const about = subject(request);
    return "name" in about ? about.name : "";
  };
  const access: Access = {
    ...{ right, audited },
    subjectOf: (request) => subject(request as Request),
    alsoOf: (request) => also(request as Request),
    targetOf: (request, answer) => (target ?? named)(request as Request, answer as Answer),
  };
  return [keyOf(method), access] as const;
}

const tokenName = ({ name }: { readonly name: string }, made: CreateTokenAnswer | undefined) =>
  made?.token?.name ?? name;
type CreateTokenAnswer = Partial<MessageShape<typeof AdminService.method.createToken.output>>;

const { method: runs } = RunService;
const { method: agents } = AgentService;
const { method: pools } = PoolService;
const { method: admin } = AdminService;
const { method: cas } = ContentAddressableStorage;
const { method: secrets } = SecretService;

/**
 * Who may call what. Not recorded, although they change something: blobs, cached results (each entry names its writer), logs
 * and the joining of agents. There are thousands a second of these, they come from programs, and none decides anything.
 */
const rows: ReadonlyMap<string, Access> = new Map([
  // Load balancers have no token, and the answer tells only that we serve.
  row(Health.method.check, undefined),
  row(Health.method.watch, undefined),
  row(ServerReflection.method.serverReflectionInfo, "know"),
  row(Capabilities.method.getCapabilities, "know"),

  row(cas.findMissingBlobs, "fetch"),
  row(cas.batchReadBlobs, "fetch"),
  row(cas.getTree, "fetch"),
  row(cas.batchUpdateBlobs, "store"),
  row(ByteStream.method.read, "fetch"),
  row(ByteStream.method.write, "store"),
  row(ByteStream.method.queryWriteStatus, "store"),
  row(ActionCache.method.getActionResult, "fetch"),
  // An agent's results come by report, fenced by its lease. What is written here counts in every project.
  row(ActionCache.method.updateActionResult, "share", { subject: onFarm }),

  row(runs.submitRun, "submit", {
    subject: ({ run }) => project(run?.project ?? ""),
    target: (_request, made) => made?.run ?? "",
    audited: true,
  }),
  row(runs.submitRunWithProgress, "submit", {
    subject: ({ submit }) => project(submit?.run?.project ?? ""),
    audited: true,
  }),
  row(runs.submitRunArchive, "submit", {
    subject: ({ part }) => (part.case === "start" ? project(part.value.project) : any),
    target: (_request, made) => made?.run ?? "",
    audited: true,
  }),
  row(runs.evaluatePipeline, "submit", {
    subject: ofProject,
    target: (_request, made) => made?.pipelinePath ?? "",
    audited: true,
  }),
  row(runs.getRun, "read", { subject: ofRun }),
  row(runs.listRuns, "read", { subject: (request) => (request.project === "" ? any : project(request.project)) }),
  row(runs.watchRun, "read", { subject: ofRun }),
  row(runs.listQueuePlaces, "read", { subject: ofRun }),
  row(runs.downloadArtifact, "read", { subject: ofRun }),
  row(runs.cancelRun, "handle", { subject: ofRun, audited: true }),
  row(runs.pinRun, "handle", { subject: ofRun, audited: true }),
  row(runs.unpinRun, "handle", { subject: ofRun, audited: true }),
  row(runs.retryRun, "submit", { subject: ofRun, audited: true }),
  row(runs.pauseRun, "steer", { subject: ofRun, audited: true }),
  row(runs.resumeRun, "steer", { subject: ofRun, audited: true }),
  row(runs.skipTask, "steer", { subject: ofRun, audited: true, target: ({ run, task }) => `${run} ${task}` }),
  row(runs.commentRun, "comment", { subject: ofRun, audited: true }),
  row(runs.decideGate, "decide", { subject: ofRun, audited: true, target: ({ run, stage }) => `${run} ${stage}` }),
  row(runs.withdrawVote, "decide", { subject: ofRun, audited: true, target: ({ run, stage }) => `${run} ${stage}` }),
  row(runs.addEvidence, "comment", {
    subject: ({ part }) => (part.case === "start" ? aRun(part.value.run) : any),
    target: ({ part }) => (part.case === "start" ? `${part.value.run} ${part.value.stage} ${part.value.name}` : ""),
    audited: true,
  }),
  row(FlowService.method.getFlow, "read", { subject: ({ run }) => (run === "" ? any : aRun(run)) }),
  row(LogService.method.readLog, "read", { subject: ofRun }),
  // The service holds each agent to the attempts that it was given.
  row(LogService.method.appendLog, "execute"),

  row(ShellService.method.openShell, "submit", {
    subject: ({ kind }) => (kind.case === "start" ? aRun(kind.value.run) : any),
    target: ({ kind }) => (kind.case === "start" ? `${kind.value.run} ${kind.value.task}` : ""),
    audited: true,
  }),
  // The service holds each agent to the shells that it was offered.
  row(ShellService.method.serveShell, "execute"),

  row(EnvironmentService.method.getEnvironment, "read", {
    subject: ({ environment }) => ({ kind: "environment", name: environment }),
  }),

  row(ProjectService.method.listProjects, "read"),
  row(ProjectService.method.getProject, "read", { subject: ({ name }) => project(name) }),
  // Quotas and the cache zone are what a project is given by the farm, not what it gives itself.
  row(ProjectService.method.setProject, "administer", {
    ...{ subject: onFarm, audited: true, target: (request) => request.project?.name ?? "" },
  }),
  row(ProjectService.method.removeProject, "administer", {
    ...{ subject: onFarm, audited: true, target: ({ name }) => name },
  }),

  row(pools.listPools, "read"),
  row(pools.getPool, "read"),
  row(pools.setPool, "operate", {
    ...{ subject: onFarm, audited: true, target: ({ settings }) => settings?.name ?? "" },
    // It says what the coordinator's own user executes.
    also: ({ settings }) => (settings?.provider.case === "exec" ? "administer" : undefined),
  }),
  row(pools.scalePool, "operate", { subject: onFarm, audited: true, target: ({ name }) => name }),
  row(pools.removePool, "operate", { subject: onFarm, audited: true, target: ({ name }) => name }),

  row(agents.listAgents, "read"),
  row(agents.setAgentDraining, "operate", { subject: onFarm, audited: true, target: ({ id }) => id }),
  row(agents.removeAgent, "operate", { subject: onFarm, audited: true, target: ({ id }) => id }),
  row(agents.enrolAgent, "enrol", { audited: true, target: ({ id }) => id }),
  row(agents.joinFarm, "execute"),
  row(agents.fetchProgram, "execute"),

  row(admin.describeCoordinator, "know"),
  row(admin.createToken, "administer", { subject: onFarm, audited: true, target: tokenName }),
  row(admin.listTokens, "administer", { subject: onFarm }),
  row(admin.revokeToken, "administer", { subject: onFarm, audited: true, target: ({ name }) => name }),
  row(admin.backup, "administer", { subject: onFarm, audited: true, target: ({ folder }) => folder }),
  row(admin.rebuildProjections, "administer", { subject: onFarm, audited: true }),
  row(admin.collectGarbage, "administer", { subject: onFarm, audited: true }),

  row(secrets.listSecrets, "submit", { subject: ofProject }),
  row(secrets.setSecret, "administer", { subject: ofProject, audited: true, target: secretName }),
  row(secrets.removeSecret, "administer", { subject: ofProject, audited: true, target: secretName }),
  row(secrets.rotateSecretKey, "administer", { subject: onFarm, audited: true }),

  row(AuditService.method.listAuditRecords, "administer", {
    subject: (request) => (request.project === "" ? farm : project(request.project)),
  }),
  row(AuditService.method.verifyAudit, "administer", { subject: onFarm }),
]);

/** A method without a row is for admins of the farm, and recorded: to forget one opens nothing. A test finds it. */
const unlisted: Access = {
  ...{ right: "administer", audited: true },
  ...{ subjectOf: onFarm, alsoOf: () => undefined, targetOf: () => "" },
};

/** What a method needs of its caller. */
export function accessOf(method: DescMethod): Access {
  return rows.get(keyOf(method)) ?? unlisted;
}

/** Whether somebody has thought about who may call it. */
export function isListed(method: DescMethod): boolean {
  return rows.has(keyOf(method));
}

function keyOf({ parent, name }: DescMethod): string {
  return `${parent.typeName}/${name}`;
}
