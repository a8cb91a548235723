import { ShopError } from "./shop-error.js";

/**
 * Routes by method and path: `{ "GET /products/:id": ({ params, query, body }) => result }`. The result is the JSON body;
 * `[status, body]` when it is not 200.
 */
export function createRouter(routes) {
  const table = Object.entries(routes).map(([route, handle]) => {
    const [method, path] = route.split(" ");
    return { method, parts: path.split("/"), handle };
  });

  return function route(method, path) {
    const parts = path.split("/").map(decode);
    const fitting = table.filter((entry) => matches(entry.parts, parts));
    if (fitting.length === 0) throw new ShopError(404, `nothing is at ${path}`);
    const entry = fitting.find((candidate) => candidate.method === method);
    if (entry === undefined) throw new ShopError(405, `${method} is not possible at ${path}`);
    const params = Object.fromEntries(
      entry.parts.flatMap((part, index) => (part.startsWith(":") ? [[part.slice(1), parts[index]]] : [])),
    );
    return { params, handle: entry.handle };
  };
}

function matches(pattern, parts) {
  return (
    pattern.length === parts.length && pattern.every((part, index) => part.startsWith(":") || part === parts[index])
  );
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new ShopError(400, "the address is not valid");
  }
}
