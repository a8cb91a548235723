import fc from "fast-check";
import { expect, test } from "vitest";
import { formatToken, parseToken } from "../../../../shared/rpc/token.ts";

const bytes = (count: number) => fc.uint8Array({ minLength: count, maxLength: count });
const secret = bytes(24).map((each) => `mr_${Buffer.from(each).toString("base64url")}`);
const fingerprint = bytes(32).map((each) => Buffer.from(each).toString("base64url"));

test("a token with or without a fingerprint is read as it was written", () => {
  fc.assert(
    fc.property(secret, fc.option(fingerprint, { nil: undefined }), (theSecret, theFingerprint) => {
      const token = { secret: theSecret, fingerprint: theFingerprint };
      expect(parseToken(formatToken(token))).toEqual(token);
    }),
  );
});

test("a token that was cut off in its fingerprint is refused, and its text is not repeated", () => {
  fc.assert(
    fc.property(secret, fingerprint, fc.nat(42), (theSecret, theFingerprint, kept) => {
      const cut = `${theSecret}.${theFingerprint.slice(0, kept)}`;
      const problem = expect.objectContaining({
        code: "invalid_argument",
        message: expect.not.stringContaining(theSecret),
      });
      expect(() => parseToken(cut)).toThrow(problem);
    }),
  );
});

test("what has no dot is a secret, whatever it looks like: an admin may have chosen it", () => {
  fc.assert(
    fc.property(
      fc.string().filter((text) => !text.includes(".")),
      (text) => {
        expect(parseToken(text)).toEqual({ secret: text, fingerprint: undefined });
      },
    ),
  );
});
