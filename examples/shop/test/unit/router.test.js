import assert from "node:assert/strict";
import { test } from "node:test";
import { createRouter } from "../../src/router.js";

const route = createRouter({ "GET /a/:id": () => "one", "PUT /a/:id/b/:other": () => "two" });

test("a route gives its handler the parts of the path", () => {
  const { params, handle } = route("PUT", "/a/x%20y/b/z");
  assert.deepEqual(params, { id: "x y", other: "z" });
  assert.equal(handle(), "two");
});

test("an unknown path, another method and a broken escape are told apart", () => {
  assert.throws(() => route("GET", "/b"), { status: 404 });
  assert.throws(() => route("POST", "/a/1"), { status: 405 });
  assert.throws(() => route("GET", "/a/%zz"), { status: 400 });
});
