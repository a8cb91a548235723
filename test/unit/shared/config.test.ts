import { expect, test } from "vitest";
import { z } from "zod";
import { port, readConfig, secret } from "../../../shared/config.ts";

const schema = z.object({
  grpcPort: port.default(7070).describe("the port for gRPC, 0 to 65535"),
  data: z.string().describe("the folder for everything that must outlast a restart, such as /var/lib/millrace"),
  apiToken: z.string().min(8, "shorter than 8 characters").meta(secret).describe("the token of the API"),
  verbose: z.stringbool().default(false).describe("true or false"),
});
const right = { data: "/data", apiToken: "12345678" };

test("a flag is stronger than the environment, and that than the default", () => {
  const env = { MILLRACE_GRPC_PORT: "1", MILLRACE_DATA: "/env", MILLRACE_API_TOKEN: "env-token", MILLRACE_VERBOSE: "" };
  expect(readConfig(schema, { flags: { grpcPort: "2" }, env })).toEqual({
    grpcPort: 2,
    data: "/env",
    apiToken: "env-token",
    verbose: false,
  });
  expect(readConfig(schema, { flags: right, env: {} })).toMatchObject({ grpcPort: 7070, data: "/data" });
});

test("every problem is reported at once: where, what is wrong and what would be right", () => {
  const env = { MILLRACE_API_TOKEN: "hunter2", MILLRACE_VERBOSE: "maybe" };
  const read = () => readConfig(schema, { flags: { grpcPort: "70700" }, env });
  expect(read).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  expect(read).toThrow(
    [
      "4 settings are wrong:",
      '  --grpc-port (or MILLRACE_GRPC_PORT): "70700" is wrong: above 65535; it is the port for gRPC, 0 to 65535',
      "  --data (or MILLRACE_DATA): is not set; it is the folder for everything that must outlast a restart, such as /var/lib/millrace",
      "  --api-token (or MILLRACE_API_TOKEN): its value is wrong: shorter than 8 characters; it is the token of the API",
      '  --verbose (or MILLRACE_VERBOSE): "maybe" is wrong: ',
    ].join("\n"),
  );
});

test("a secret's value is in no message", () => {
  const read = () => readConfig(schema, { flags: {}, env: { MILLRACE_API_TOKEN: "hunter2" } });
  expect(read).toThrow(expect.objectContaining({ message: expect.not.stringContaining("hunter2") }));
});

test("a rule between settings is reported at the setting that it names", () => {
  const ruled = schema.refine(({ grpcPort, data }) => grpcPort !== 0 || data === "/tmp", {
    path: ["grpcPort"],
    message: "a random port only goes with a temporary folder",
  });
  const read = () => readConfig(ruled, { flags: { ...right, grpcPort: "0" }, env: {} });
  expect(read).toThrow('--grpc-port (or MILLRACE_GRPC_PORT): "0" is wrong: a random port only goes with');
});

test.each(["", "abc", "1.5", "-1", "65536", "1e9", "0x10", " 1"])("%j is no port", (text) => {
  expect(port.safeParse(text).success).toBe(false);
});
