import assert from "node:assert/strict";
import { test } from "node:test";
import { createTestShop } from "./shop.js";

test("the catalogue lists everything, or what a search finds", () => {
  const { catalogue } = createTestShop();
  assert.deepEqual(
    catalogue.list().map(({ id }) => id),
    ["tea", "pot"],
  );
  assert.deepEqual(
    catalogue.list("POT").map(({ id }) => id),
    ["pot"],
  );
});

test("what the catalogue gives out cannot change it", () => {
  const { catalogue } = createTestShop();
  catalogue.get("tea").stock = 0;
  catalogue.list()[0].stock = 0;
  assert.equal(catalogue.get("tea").stock, 20);
});

test("stock is taken for all lines or for none", () => {
  const { catalogue } = createTestShop();
  const lines = [
    { productId: "tea", quantity: 3 },
    { productId: "pot", quantity: 2 },
  ];
  assert.throws(() => catalogue.take(lines), { status: 409, message: "only 1 left of Tea pot" });
  assert.equal(catalogue.get("tea").stock, 20);
  catalogue.take(lines.slice(0, 1));
  assert.equal(catalogue.get("tea").stock, 17);
});

test("an unknown product is not found", () => {
  assert.throws(() => createTestShop().catalogue.get("x"), { status: 404 });
});
