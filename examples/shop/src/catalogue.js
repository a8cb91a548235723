import { ShopError } from "./shop-error.js";

/** What is for sale, and how much of it is left. */
export function createCatalogue(products) {
  const byId = new Map(products.map((product) => [product.id, { ...product }]));

  function find(id) {
    const product = byId.get(id);
    if (product === undefined) throw new ShopError(404, `there is no product "${id}"`);
    return product;
  }

  return {
    /** Copies, in the order of the catalogue; all of them, or those whose name contains the text. */
    list(search = "") {
      const text = search.toLowerCase();
      return [...byId.values()]
        .filter(({ name }) => name.toLowerCase().includes(text))
        .map((product) => ({ ...product }));
    },

    get: (id) => ({ ...find(id) }),

    /** Takes all lines from stock, or none: `lines` are `{ productId, quantity }`. */
    take(lines) {
      for (const { productId, quantity } of lines) {
        const { name, stock } = find(productId);
        if (stock < quantity) throw new ShopError(409, `only ${stock} left of ${name}`);
      }
      for (const { productId, quantity } of lines) find(productId).stock -= quantity;
    },
  };
}
