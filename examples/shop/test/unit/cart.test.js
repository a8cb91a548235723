import assert from "node:assert/strict";
import { test } from "node:test";
import { createTestShop } from "./shop.js";

test("a cart adds up its lines", () => {
  const { carts } = createTestShop();
  const { id } = carts.create();
  carts.setQuantity(id, "tea", 2);
  const cart = carts.setQuantity(id, "pot", 1);
  assert.equal(cart.totalCents, 4_000);
  assert.deepEqual(
    cart.lines.map(({ productId, quantity, sumCents }) => [productId, quantity, sumCents]),
    [
      ["tea", 2, 1_000],
      ["pot", 1, 3_000],
    ],
  );
});

test("a quantity is set, not added, and 0 removes the line", () => {
  const { carts } = createTestShop();
  const { id } = carts.create();
  carts.setQuantity(id, "tea", 2);
  assert.equal(carts.setQuantity(id, "tea", 3).totalCents, 1_500);
  assert.deepEqual(carts.setQuantity(id, "tea", 0).lines, []);
});

test("quantities that make no sense are refused", () => {
  const { carts } = createTestShop();
  const { id } = carts.create();
  for (const quantity of [-1, 1.5, 100, "2", undefined]) {
    assert.throws(() => carts.setQuantity(id, "tea", quantity), { status: 400 });
  }
});

test("unknown carts and products are not found", () => {
  const { carts } = createTestShop();
  assert.throws(() => carts.view("x"), { status: 404 });
  assert.throws(() => carts.setQuantity(carts.create().id, "x", 1), { status: 404 });
});
