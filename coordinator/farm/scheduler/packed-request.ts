import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type Action,
  ActionSchema,
  type Command,
  CommandSchema,
} from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type {
  HostOperation,
  NamedCaches,
  SourceImport,
  TaskSecrets,
} from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import type { Digest } from "../../../shared/digest.ts";
import type { ExecutionRequest } from "./scheduler.ts";

/**
 * The same request, its Action and Command as bytes that are decoded when they are asked for: nobody looks at them while it
 * waits, and as objects 100,000 of them take a third of the coordinator's memory. A class, for an object literal would have
 * functions of its own in each of them; what is spread from it has no Action.
 */
class PackedRequest implements ExecutionRequest {
  readonly id: string;
  readonly actionDigest: Digest;
  readonly priority: number;
  readonly fairGroup: string;
  readonly volatileEnvironment: Readonly<Record<string, string>>;
  readonly namedCaches?: NamedCaches;
  readonly secrets?: TaskSecrets;
  readonly hostOperation?: HostOperation;
  readonly atMostOnce?: boolean;
  readonly avoidAgents?: readonly string[];
  readonly attemptsMax?: number;
  readonly sourceImport?: SourceImport;
  // A character for each byte: an array of bytes would take 200 more for itself.
  readonly #action: string;
  readonly #command: string;

  constructor(request: ExecutionRequest, id: string) {
    this.id = id;
    this.actionDigest = request.actionDigest;
    this.priority = request.priority;
    this.fairGroup = request.fairGroup;
    this.volatileEnvironment = request.volatileEnvironment;
    if (request.namedCaches !== undefined) this.namedCaches = request.namedCaches;
    if (request.secrets !== undefined) this.secrets = request.secrets;
    if (request.hostOperation !== undefined) this.hostOperation = request.hostOperation;
    if (request.atMostOnce !== undefined) this.atMostOnce = request.atMostOnce;
    if (request.avoidAgents !== undefined) this.avoidAgents = request.avoidAgents;
    if (request.attemptsMax !== undefined) this.attemptsMax = request.attemptsMax;
    if (request.sourceImport !== undefined) this.sourceImport = request.sourceImport;
    this.#action = packedBytes(toBinary(ActionSchema, request.action));
    this.#command = packedBytes(toBinary(CommandSchema, request.command));
  }

  get action(): Action {
    return fromBinary(ActionSchema, Buffer.from(this.#action, "latin1"));
  }

  get command(): Command {
    return fromBinary(CommandSchema, Buffer.from(this.#command, "latin1"));
  }

  /** Action and Command as bytes. */
  encoded(): { readonly action: Uint8Array; readonly command: Uint8Array } {
    return { action: Buffer.from(this.#action, "latin1"), command: Buffer.from(this.#command, "latin1") };
  }
}

function packedBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

/** @param id what it is known by from now on */
export function packed(request: ExecutionRequest, id: string = request.id): PackedRequest {
  return request instanceof PackedRequest && request.id === id ? request : new PackedRequest(request, id);
}
