import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createCarts } from "./cart.js";
import { createCatalogue } from "./catalogue.js";
import { createCheckout } from "./checkout.js";
import { createShopServer } from "./server.js";

const readJson = (name) => JSON.parse(readFileSync(new URL(name, import.meta.url), "utf8"));
// The build writes the manifest beside this file; from the sources there is none.
const isBuilt = existsSync(new URL("manifest.json", import.meta.url));
const version = isBuilt ? readJson("manifest.json").version : "development";

const catalogue = createCatalogue(readJson("products.json"));
const carts = createCarts({ catalogue, newId: randomUUID });
const checkout = createCheckout({ catalogue, carts, newId: randomUUID, now: () => new Date() });
const server = createShopServer({ catalogue, carts, checkout, version });

server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => {
  console.log(`shop ${version} listens on http://127.0.0.1:${server.address().port}`);
});
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    server.close();
    server.closeIdleConnections();
  });
}
