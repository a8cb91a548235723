/** Something the customer can be told: an HTTP status and a sentence. */
export class ShopError extends Error {
  constructor(status, message) {
    super(message);
    this.name = "ShopError";
    this.status = status;
  }
}
