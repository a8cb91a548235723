import type { DescMethod, DescService } from "@bufbuild/protobuf";
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

/** Every service that is declared under proto/: test/unit/coordinator/api/access.test.ts says when one is missing. */
export const declaredServices: readonly DescService[] = [
  ...[Capabilities, ContentAddressableStorage, ActionCache, ByteStream, Health, ServerReflection],
  ...[
    RunService,
    FlowService,
    LogService,
    EnvironmentService,
    ProjectService,
    PoolService,
    AgentService,
    AdminService,
    AuditService,
    SecretService,
    ShellService,
  ],
];

/** Every method of these. */
export const declaredMethods: readonly DescMethod[] = declaredServices.flatMap(({ methods }) => methods);
