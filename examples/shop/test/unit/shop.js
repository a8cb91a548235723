import { createCarts } from "../../src/cart.js";
import { createCatalogue } from "../../src/catalogue.js";
import { createCheckout } from "../../src/checkout.js";

/** A shop with two products, ids that count, and a clock that stands. */
export function createTestShop() {
  let count = 0;
  const newId = () => `id-${++count}`;
  const catalogue = createCatalogue([
    { id: "tea", name: "Tea", priceCents: 500, stock: 20 },
    { id: "pot", name: "Tea pot", priceCents: 3_000, stock: 1 },
  ]);
  const carts = createCarts({ catalogue, newId });
  const checkout = createCheckout({ catalogue, carts, newId, now: () => new Date(0) });
  return { catalogue, carts, checkout };
}
