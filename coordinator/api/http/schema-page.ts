import { pipelineJsonSchema, pipelineSchemaPath } from "../../../shared/pipeline/json-schema/pipeline-json-schema.ts";
import type { HttpPage } from "./http-server.ts";

/** The JSON Schema of pipeline files. It asks for no token: the language is no secret, and editors have none. */
export function schemaPage(): HttpPage {
  let text: string | undefined; // made when the first one asks
  return {
    path: pipelineSchemaPath,
    async respond({ method }, response) {
      if (method !== "GET" && method !== "HEAD") {
        response.writeHead(405, { allow: "GET, HEAD", "content-type": "text/plain" }).end("only GET and HEAD\n");
        return;
      }
      text ??= `${JSON.stringify(pipelineJsonSchema())}\n`;
      // An editor in a browser may ask from anywhere.
      const headers = { "content-type": "application/schema+json", "access-control-allow-origin": "*" };
      response.writeHead(200, headers).end(method === "HEAD" ? undefined : text);
    },
  };
}
