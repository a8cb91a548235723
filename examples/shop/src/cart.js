import { ShopError } from "./shop-error.js";

const quantityMax = 99;
/** Carts that nobody comes back to must not fill the memory: beyond this the oldest is dropped. */
const cartsMax = 10_000;

/** Carts by id: product → quantity, in the order in which products were added. */
export function createCarts({ catalogue, newId }) {
  const carts = new Map();

  function find(id) {
    const cart = carts.get(id);
    if (cart === undefined) throw new ShopError(404, `there is no cart "${id}"`);
    return cart;
  }

  /** Priced by the catalogue of now. */
  function view(id) {
    const lines = [...find(id)].map(([productId, quantity]) => {
      const { name, priceCents } = catalogue.get(productId);
      return { productId, name, quantity, priceCents, sumCents: quantity * priceCents };
    });
    return { id, lines, totalCents: lines.reduce((sum, line) => sum + line.sumCents, 0) };
  }

  return {
    create() {
      const [oldest] = carts.keys();
      if (carts.size >= cartsMax) carts.delete(oldest);
      const id = newId();
      carts.set(id, new Map());
      return view(id);
    },

    view,

    /** Sets, not adds, so that a repeated request changes nothing; 0 removes. */
    setQuantity(id, productId, quantity) {
      const cart = find(id);
      if (!Number.isInteger(quantity) || quantity < 0 || quantity > quantityMax) {
        throw new ShopError(400, `quantity must be a whole number from 0 to ${quantityMax}`);
      }
      catalogue.get(productId);
      if (quantity === 0) cart.delete(productId);
      else cart.set(productId, quantity);
      return view(id);
    },

    remove: (id) => carts.delete(id),
  };
}
