import { createRegistry, type DescFile, type DescService, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ServiceImpl } from "@connectrpc/connect";
import type {
  ServerReflection,
  ServerReflectionRequest,
  ServerReflectionResponseSchema,
} from "../../../proto/gen/grpc/reflection/v1/reflection_pb.ts";

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"]>;

/**
 * grpc.reflection.v1 from the descriptors that the generated code carries, so that `buf curl` and `grpcurl` list and
 * call the services without our .proto files. (@grpc/reflection needs proto-loader, with which listing worked and
 * calling did not.)
 */
export function reflectionService(services: readonly DescService[]): ServiceImpl<typeof ServerReflection> {
  const files = new Map<string, DescFile>();
  for (const service of services)
    for (const file of withDependencies(service.file)) files.set(`${file.name}.proto`, file);
  const registry = createRegistry(...files.values());

  function answer({ messageRequest }: ServerReflectionRequest): Answer {
    switch (messageRequest.case) {
      case "listServices":
        return {
          case: "listServicesResponse",
          value: { service: services.map(({ typeName }) => ({ name: typeName })) },
        };
      case "fileByFilename":
        return fileAnswer(files.get(messageRequest.value), messageRequest.value);
      case "fileContainingSymbol": {
        // A method is named by its service's name and its own.
        const symbol = messageRequest.value;
        const found = registry.get(symbol) ?? registry.get(symbol.slice(0, symbol.lastIndexOf(".")));
        return fileAnswer(found?.file, symbol);
      }
      default:
        return failed(Code.Unimplemented, "extensions are not served: there are none in proto3");
    }
  }

  return {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(request) };
      }
    },
  };
}

function fileAnswer(file: DescFile | undefined, asked: string): Answer {
  if (file === undefined) return failed(Code.NotFound, `no "${asked}" here`);
  const fileDescriptorProto = withDependencies(file).map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

function failed(errorCode: Code, errorMessage: string): Answer {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}

/** The file and, once each, all that it imports. */
function withDependencies(file: DescFile): DescFile[] {
  const seen = new Set<DescFile>();
  const visit = (one: DescFile): void => {
    if (seen.has(one)) return;
    seen.add(one);
    for (const dependency of one.dependencies) visit(dependency);
  };
  visit(file);
  return [...seen];
}
