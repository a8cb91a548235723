import { ShopError } from "./shop-error.js";

/** From this sum on, shipping is free. */
const freeShippingCents = 5_000;
const shippingCents = 490;
const ordersMax = 100_000;

/** Turns carts into orders. */
export function createCheckout({ catalogue, carts, newId, now }) {
  const orders = new Map();

  return {
    /** Takes the goods from stock and ends the cart; on any error neither has changed. */
    placeOrder(cartId, email) {
      if (typeof email !== "string" || !/^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(email)) {
        throw new ShopError(400, "email must be an address such as you@example.org");
      }
      if (orders.size >= ordersMax) throw new ShopError(503, "no more orders today");
      const { lines, totalCents } = carts.view(cartId);
      if (lines.length === 0) throw new ShopError(409, "the cart is empty");
      catalogue.take(lines);
      carts.remove(cartId);
      const shipping = totalCents >= freeShippingCents ? 0 : shippingCents;
      const order = {
        id: newId(),
        email,
        lines,
        shippingCents: shipping,
        totalCents: totalCents + shipping,
        placedAt: now().toISOString(),
      };
      orders.set(order.id, order);
      return order;
    },

    order(id) {
      const order = orders.get(id);
      if (order === undefined) throw new ShopError(404, `there is no order "${id}"`);
      return order;
    },
  };
}
