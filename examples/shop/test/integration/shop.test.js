// Starts the service as it was built into dist/ and buys something, over HTTP.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";

const dist = new URL("../../dist/", import.meta.url);
let service;
let address;

before(async () => {
  service = spawn(process.execPath, ["main.js"], {
    cwd: dist,
    env: { ...process.env, PORT: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  // The first line names the port that was free; a service that ends before it closes its output, and the line is missing.
  const [line = ""] = await Promise.race([once(createInterface(service.stdout), "line"), once(service, "exit")]);
  address = /http:\S+/.exec(line)?.[0];
  assert.ok(address, `the service did not start: ${line}`);
});

after(async () => {
  if (service.exitCode !== null) return;
  const ended = once(service, "exit");
  service.kill("SIGTERM");
  const [status] = await ended;
  assert.equal(status, 0, "the service ends cleanly on SIGTERM");
});

async function call(method, path, body) {
  const response = await fetch(address + path, {
    method,
    headers: { connection: "close" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: await response.json() };
}

test("the service that runs is the version that was built", async () => {
  const { version } = JSON.parse(readFileSync(new URL("manifest.json", dist), "utf8"));
  assert.deepEqual((await call("GET", "/health")).body, { status: "ok", version });
});

test("a customer finds tea, fills a cart and buys it", async () => {
  const found = await call("GET", "/products?search=green");
  assert.deepEqual(
    found.body.map(({ id }) => id),
    ["green-tea"],
  );
  const [product] = found.body;
  const cart = await call("POST", "/carts");
  assert.equal(cart.status, 201);
  const filled = await call("PUT", `/carts/${cart.body.id}/items/green-tea`, { quantity: 2 });
  assert.equal(filled.body.totalCents, 2 * product.priceCents);
  const order = await call("POST", `/carts/${cart.body.id}/checkout`, { email: "tea@example.org" });
  assert.equal(order.status, 201);
  assert.equal(order.body.totalCents, 2 * product.priceCents + order.body.shippingCents);
  assert.deepEqual((await call("GET", `/orders/${order.body.id}`)).body, order.body);
  assert.equal((await call("GET", "/products/green-tea")).body.stock, product.stock - 2);
});

test("mistakes are answered, not survived by luck", async () => {
  assert.equal((await call("GET", "/nowhere")).status, 404);
  assert.equal((await call("DELETE", "/products")).status, 405);
  const cart = await call("POST", "/carts");
  assert.equal((await call("PUT", `/carts/${cart.body.id}/items/kettle`, { quantity: "many" })).status, 400);
  assert.equal((await call("PUT", `/carts/${cart.body.id}/items/kettle`, "no object")).status, 400);
  assert.equal((await call("POST", `/carts/${cart.body.id}/checkout`, { email: "a@example.org" })).status, 409);
  assert.equal((await call("POST", "/carts", { filler: "x".repeat(20_000) })).status, 413);
});
