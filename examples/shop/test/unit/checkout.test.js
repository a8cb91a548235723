import assert from "node:assert/strict";
import { test } from "node:test";
import { createTestShop } from "./shop.js";

test("an order takes the goods from stock and ends the cart", () => {
  const { catalogue, carts, checkout } = createTestShop();
  const { id } = carts.create();
  carts.setQuantity(id, "tea", 2);
  const order = checkout.placeOrder(id, "a@example.org");
  assert.equal(order.totalCents, 1_000 + 490);
  assert.equal(order.placedAt, "1970-01-01T00:00:00.000Z");
  assert.equal(catalogue.get("tea").stock, 18);
  assert.throws(() => carts.view(id), { status: 404 });
  assert.deepEqual(checkout.order(order.id), order);
});

test("shipping is free from 50.00 on", () => {
  const { carts, checkout } = createTestShop();
  const { id } = carts.create();
  carts.setQuantity(id, "tea", 10);
  assert.deepEqual(checkout.placeOrder(id, "a@example.org").shippingCents, 0);
});

test("an order that fails leaves cart and stock as they were", () => {
  const { catalogue, carts, checkout } = createTestShop();
  const { id } = carts.create();
  assert.throws(() => checkout.placeOrder(id, "a@example.org"), { status: 409, message: "the cart is empty" });
  carts.setQuantity(id, "tea", 1);
  carts.setQuantity(id, "pot", 2);
  assert.throws(() => checkout.placeOrder(id, "nobody"), { status: 400 });
  assert.throws(() => checkout.placeOrder(id, "a@example.org"), { status: 409 });
  assert.equal(carts.view(id).lines.length, 2);
  assert.equal(catalogue.get("tea").stock, 20);
});
