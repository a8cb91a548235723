// The peer of the store over the wire: PUT writes the one file, durably, GET gives it back. Prints its port.
// Argument: the file.

import { createReadStream, createWriteStream } from "node:fs";
import { createServer } from "node:http";
import { pipeline } from "node:stream/promises";

const [, , path = ""] = process.argv;
const highWaterMark = 1024 * 1024;

const server = createServer({ highWaterMark }, async (request, response) => {
  if (request.method === "PUT") {
    await pipeline(request, createWriteStream(path, { highWaterMark, flush: true }));
    response.writeHead(201).end();
  } else {
    response.writeHead(200);
    await pipeline(createReadStream(path, { highWaterMark }), response);
  }
});
server.listen(0, "127.0.0.1", () => console.log(server.address()?.port));
