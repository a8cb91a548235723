import { createServer } from "node:http";
import { createRouter } from "./router.js";
import { ShopError } from "./shop-error.js";

const bodyBytesMax = 16 * 1024;

/** The shop over HTTP, not listening yet. */
export function createShopServer({ catalogue, carts, checkout, version }) {
  const route = createRouter({
    "GET /health": () => ({ status: "ok", version }),
    "GET /products": ({ query }) => catalogue.list(query.get("search") ?? ""),
    "GET /products/:id": ({ params }) => catalogue.get(params.id),
    "POST /carts": () => [201, carts.create()],
    "GET /carts/:id": ({ params }) => carts.view(params.id),
    "PUT /carts/:id/items/:product": ({ params, body }) => carts.setQuantity(params.id, params.product, body.quantity),
    "POST /carts/:id/checkout": ({ params, body }) => [201, checkout.placeOrder(params.id, body.email)],
    "GET /orders/:id": ({ params }) => checkout.order(params.id),
  });

  return createServer(async (request, response) => {
    try {
      const url = new URL(request.url, "http://shop");
      const { params, handle } = route(request.method, url.pathname);
      const result = handle({ params, query: url.searchParams, body: await readJson(request) });
      const [status, body] = Array.isArray(result) && typeof result[0] === "number" ? result : [200, result];
      send(response, status, body);
    } catch (error) {
      if (!(error instanceof ShopError)) console.error(error);
      const known = error instanceof ShopError ? error : new ShopError(500, "something went wrong");
      send(response, known.status, { error: known.message });
    }
  });
}

async function readJson(request) {
  const chunks = [];
  let sizeBytes = 0;
  for await (const chunk of request) {
    sizeBytes += chunk.length;
    if (sizeBytes > bodyBytesMax) throw new ShopError(413, "the request is too large");
    chunks.push(chunk);
  }
  if (sizeBytes === 0) return {};
  try {
    const body = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    if (typeof body === "object" && body !== null) return body;
  } catch {
    // Answered below, like JSON that is no object.
  }
  throw new ShopError(400, "the request must be a JSON object");
}

function send(response, status, body) {
  const text = JSON.stringify(body);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}
