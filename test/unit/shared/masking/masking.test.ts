import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formsOf, maskability, piecesOf } from "../../../../shared/masking/forms.ts";
import { masking } from "../../../../shared/masking/masking.ts";
import { maskedByContract } from "./contract.ts";

/** What goes through in these chunks; an end within a form is not what most tests are about, so a full stop comes last. */
function masked(values: readonly (string | Buffer)[], chunks: readonly Uint8Array[]): string {
  const stream = masking(values.map((value, index) => ({ name: `s${index}`, value: Buffer.from(value) }))).stream();
  return Buffer.concat([...chunks.map((chunk) => stream.push(chunk)), stream.end()]).toString("latin1");
}

function maskedText(value: string, text: string): string {
  return masking([{ name: "s", value: Buffer.from(value) }]).text(text);
}

/** Cut at these places, modulo its length. */
function cut(text: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (text.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((start, index) => text.subarray(start, at[index] ?? text.length));
}

const jsonAscii = (text: string) =>
  JSON.stringify(text).replaceAll(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

const xml = (text: string) =>
  text.replaceAll(/[&<>"']/g, (each) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[each] ?? "&apos;");
const xmlByNumbers = (text: string) =>
  text.replaceAll(/[^a-z]/gu, (each) => `&#x${each.codePointAt(0)?.toString(16)};`);

/** How others write a text, by their own means: nothing of it is taken from what is tested. */
const writers: Readonly<Record<string, (text: string) => string>> = {
  plain: (text) => text,
  url: encodeURIComponent,
  "url, small letters": (text) => encodeURIComponent(text).replaceAll(/%../g, (each) => each.toLowerCase()),
  "every byte as a percent": (text) => Buffer.from(text).toString("hex").replaceAll(/../g, "%$&"),
  form: (text) => new URLSearchParams({ v: text }).toString(),
  json: (text) => JSON.stringify(text),
  "json, ASCII": jsonAscii,
  "json in json's slashes": (text) => JSON.stringify(text).replaceAll("/", "\\/"),
  base64: (text) => Buffer.from(text).toString("base64"),
  "base64 of URLs": (text) => Buffer.from(text).toString("base64url"),
  "base64 in a URL": (text) => encodeURIComponent(Buffer.from(text).toString("base64")),
  "base64 in lines": (text) => Buffer.from(text).toString("base64").replaceAll(/.{76}/g, "$&\r\n"),
  "base64 in indented lines": (text) => Buffer.from(text).toString("base64").replaceAll(/.{64}/g, "$&\n    "),
  hex: (text) => Buffer.from(text).toString("hex"),
  "base64 in lines of a service": (text) => Buffer.from(text).toString("base64").replaceAll(/.{76}/g, "$&\n[my-db_1] "),
  "hex in lines of a service": (text) => Buffer.from(text).toString("hex").replaceAll(/.{60}/g, "$&\n[db] "),
  "quotes of bash": (text) => `'${text.replaceAll("'", "'\\''")}'`,
  "quotes of dash": (text) => `'${text.replaceAll(/'+/g, `'"$&"'`)}'`,
  xml,
  "xml by numbers": xmlByNumbers,
  "html by numbers": (text) => text.replaceAll(/[&<>"']/g, (each) => `&#${each.charCodeAt(0)};`),
  "xml in xml": (text) => xml(xml(text)),
  "json in json": (text) => JSON.stringify(JSON.stringify({ text })),
  "json, ASCII, in json": (text) => JSON.stringify(jsonAscii(text)),
  "json in xml": (text) => xml(JSON.stringify(text)),
  "url in a url": (text) => encodeURIComponent(encodeURIComponent(text)),
  "base64 in quoted lines": (text) => `> ${Buffer.from(text).toString("base64").replaceAll(/.{64}/g, "$&\n> ")}\n`,
  "base64 in lines of a log": (text) =>
    `10:00 ${Buffer.from(text).toString("base64").replaceAll(/.{76}/g, "$&\n2026-11-30T10:00:00.123Z [INFO] ")}\n`,
  "hex in lines": (text) => Buffer.from(text).toString("hex").toUpperCase().replaceAll(/.{60}/g, "$&\n"),
};

const secretText = fc
  .oneof(
    fc.string({ minLength: 8, maxLength: 40 }),
    fc.string({ minLength: 8, maxLength: 200, unit: "grapheme" }),
    fc
      .array(fc.base64String({ minLength: 12, maxLength: 64 }), { minLength: 2, maxLength: 5 })
      .map((lines) => lines.join("\n")),
  )
  .filter((text) => text.trim().length >= 8 && maskability(Buffer.from(text)) === "good" && text.isWellFormed());
const places = fc.array(fc.nat(5_000), { maxLength: 12 });

describe("whatever a secret is written in, at whatever borders", () => {
  test("nothing of it is left", () => {
    fc.assert(
      fc.property(
        fc.array(secretText, { minLength: 1, maxLength: 4 }),
        fc.constantFrom(...Object.keys(writers)),
        fc.array(fc.tuple(fc.nat(), fc.string({ maxLength: 60 })), { minLength: 1, maxLength: 4 }),
        places,
        (secrets, writer, parts, borders) => {
          const clear = parts.map(([which, around]) => `${around}${secrets[which % secrets.length]}`).join("");
          const text = Buffer.from(`${writers[writer]?.(clear)}.`);
          const out = masked(secrets, cut(text, borders));
          expect(out).toHaveLength(text.length);
          for (const form of secrets.flatMap((secret) => formsOf(Buffer.from(secret)))) {
            expect(out).not.toContain(form);
          }
          // And not what any reader would get out of it, whatever the list of forms says.
          for (const [, which] of parts.map(([index]) => [0, secrets[index % secrets.length] ?? ""] as const)) {
            const lines = which.split("\n").map((line) => line.trim());
            for (const line of lines.filter((each) => each.length >= 8)) {
              expect(out).not.toContain(
                Buffer.from(writers[writer]?.(line) ?? "")
                  .toString("latin1")
                  .replaceAll(/^"|"$|=+$/g, ""),
              );
            }
          }
        },
      ),
    );
  });

  test("the chunks make no difference", () => {
    fc.assert(
      fc.property(
        fc.array(secretText, { minLength: 1, maxLength: 3 }),
        fc.array(fc.tuple(fc.constantFrom(...Object.keys(writers)), fc.nat(), fc.string({ maxLength: 30 })), {
          maxLength: 8,
        }),
        places,
        (secrets, parts, borders) => {
          const text = Buffer.from(
            parts
              .map(([writer, which, around]) => `${around}${writers[writer]?.(secrets[which % secrets.length] ?? "")}`)
              .join(" "),
          );
          const whole = masked(secrets, [text]);
          expect(masked(secrets, cut(text, borders))).toBe(whole);
          expect(
            masked(
              secrets,
              [...text].map((byte) => Buffer.of(byte)),
            ),
          ).toBe(whole);
        },
      ),
    );
  });

  test("what comes out is what the contract says, byte by byte", () => {
    const bits = `a b ' " \\ % & # ; x u 0 1 2 7 = > é lt amp; #39; #x27; ' '\\'' '"'"' \\\\ \\u00 [db] %2 %25`.split(
      " ",
    );
    const soup = fc
      .array(fc.constantFrom(...bits, " ", "\n", "\r\n", "> ", "ab".repeat(20), "YWI".repeat(14)), { maxLength: 14 })
      .map((parts) => parts.join(""));
    const values = fc.array(
      fc.oneof(
        fc.array(fc.constantFrom(...bits, " ", "\n"), { minLength: 3, maxLength: 30 }).map((parts) => parts.join("")),
        fc.string({ minLength: 4, maxLength: 150, unit: fc.constantFrom("a", "b", "é", "'", " ") }),
      ),
      { minLength: 1, maxLength: 3 },
    );
    const writer = fc.constantFrom(...Object.values(writers));
    fc.assert(
      fc.property(
        values,
        fc.array(fc.tuple(soup, writer, fc.nat(), fc.nat(300)), { maxLength: 5 }),
        places,
        (secrets, parts, borders) => {
          const whole = parts.map(([before, write, which, length]) => {
            const written = write(secrets[which % secrets.length] ?? "");
            return before + (length < 60 ? written.slice(0, length) : written);
          });
          const text = Buffer.from(`${whole.join("")}\n\0`);
          const expected = maskedByContract(
            secrets.map((secret) => Buffer.from(secret)),
            text,
          );
          expect(masked(secrets, [text])).toBe(expected);
          expect(masked(secrets, cut(text, borders))).toBe(expected);
          expect(
            masked(
              secrets,
              Array.from(text, (byte) => Buffer.of(byte)),
            ),
          ).toBe(expected);
        },
      ),
    );
  });

  test("what is no byte of a form stays as it is", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 4, maxLength: 9, unit: fc.constantFrom("a", "b", "c") }), {
          minLength: 1,
          maxLength: 3,
        }),
        fc.string({ maxLength: 300, unit: fc.constantFrom("a", "b", "c", " ", "\n", "Y") }),
        places,
        (secrets, text, borders) => {
          const bytes = Buffer.from(`${text}.`);
          const expected = [...bytes];
          // No escape and no long line: a form is what stands there.
          fc.pre(!/[abcY]{32}/.test(text));
          for (const form of secrets.flatMap((secret) => formsOf(Buffer.from(secret))).flatMap(piecesOf)) {
            for (let at = bytes.indexOf(form, 0, "latin1"); at >= 0; at = bytes.indexOf(form, at + 1, "latin1")) {
              expected.fill(0x2a, at, at + form.length);
            }
          }
          expect(masked(secrets, cut(bytes, borders))).toBe(Buffer.from(expected).toString("latin1"));
        },
      ),
    );
  });
});

describe("masking", () => {
  test("keeps the length and the line breaks of what it hides", () => {
    const key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----\n";
    expect(maskedText(key, `key:\n${key}done\n`)).toBe(`key:\n${key.replaceAll(/[^\n]/g, "*")}done\n`);
  });

  test("hides each line of a value where it stands alone, and indented", () => {
    expect(maskedText("first line\n  second line\n", "> second line\n\tfirst line")).toBe(
      "> ***********\n\t**********",
    );
  });

  test("hides a secret that begins with another one to its last byte", () => {
    expect(masked(["token-1", "token-1-extended"], [Buffer.from("token-1-ext"), Buffer.from("ended, token-1.")])).toBe(
      "****************, *******.",
    );
  });

  test("hides bytes that are no text", () => {
    const value = Buffer.from([0, 255, 254, 7, 200, 13, 128, 1]);
    const text = Buffer.concat([
      Buffer.from("<"),
      value,
      Buffer.from(`> ${value.toString("base64")} ${value.toString("hex")}`),
    ]);
    expect(masked([value], [text])).toMatch(/^<\*{5}\r\*\*> \*{10}[^*]= \*{16}$/);
  });

  test("holds back no more than what may be a beginning", () => {
    const stream = masking([{ name: "s", value: Buffer.from("hunter2-hunter2") }]).stream();
    expect(Buffer.from(stream.push(Buffer.from("compiling…\n"))).toString()).toBe("compiling…\n");
    expect(Buffer.from(stream.push(Buffer.from("password: hunt"))).toString()).toBe("password: ");
    expect(Buffer.from(stream.push(Buffer.from("ing season\n"))).toString()).toBe("hunting season\n");
  });

  test("hides the beginning of a form in which a text breaks off", () => {
    expect(maskedText("correct-horse-battery", "it is correct-hor")).toBe("it is ***********");
    expect(maskedText("correct-horse-battery", "it is corr")).toBe("it is corr");
  });

  test.each([
    ["a URL", "correct horse-battery", "correct%20horse%2"],
    ["JSON", "correct-hörse-battery", "correct-h\\u00"],
    ["JSON in JSON", "correct-\nhorse-battery", "correct-\\"],
    ["XML", "correct-h&rse-battery", "correct-h&am"],
  ])("hides the beginning of a form in which a text breaks off within an escape of %s", (_what, secret, beginning) => {
    expect(maskedText(secret, `it is ${beginning}`)).toBe(`it is ${"*".repeat(beginning.length)}`);
  });

  test("leaves the last word of a line after base64 as it is when it does not go on there", () => {
    const line = Buffer.from("correct horse battery staple").toString("base64").slice(0, 36);
    expect(maskedText("correct horse battery staple, and more", `${line}\nand then nothing.`)).toBe(
      `${line}\nand then nothing.`,
    );
  });

  test("leaves what is too short as it is", () => {
    expect(maskedText("abc", "abc abc")).toBe("abc abc");
    expect(masking([{ name: "s", value: Buffer.from("abc\n") }]).isEmpty).toBe(true);
  });

  test.each([
    ["of bash", `+ : 'it'\\''s a secret'\\'''\n`],
    ["of dash", `+ : 'it'"'"'s a secret'"'"\n`],
  ])("hides a value in the quotes %s, also where they end", (_shell, text) => {
    expect(maskedText("it's a secret'", text)).toMatch(/^\+ : '\*+(''?)?\n$/);
  });

  test("waits for the name of a service within base64", () => {
    const secret = Buffer.from("correct horse battery staple, and more than that");
    const [first = "", rest = ""] = secret.toString("base64").match(/.{1,40}/g) ?? [];
    expect(
      masked(
        [secret],
        [`${first}\n[d`, "b", "] ", `${rest}.`].map((text) => Buffer.from(text)),
      ),
    ).toMatch(/^\*{40}\n\*{29}\.$/);
    expect(masked([secret], [Buffer.from(`${first}\n[d`), Buffer.from(`B] ${rest}.`)])).not.toContain("*");
  });

  test("says which secrets it has seen", () => {
    const found = new Set<string>();
    const hidden = masking([
      { name: "npm-token", value: Buffer.from("npm_0123456789") },
      { name: "unused", value: Buffer.from("never-printed") },
    ]);
    const stream = hidden.stream((name) => found.add(name));
    stream.push(Buffer.from("npm_01234"));
    stream.push(Buffer.from("56789"));
    stream.end();
    expect([...found]).toEqual(["npm-token"]);
  });

  test.each([
    ["a word", "hunter2", "poor"],
    ["a token", "hunter2-hunter2", "good"],
    ["a short line among long ones", "long enough line\nshort\n", "poor"],
    ["a pin", "123", "none"],
    ["white space", " \n", "none"],
  ])("says how well %s can be masked", (_what, value, expected) => {
    expect(maskability(Buffer.from(value))).toBe(expected);
  });

  test("is fast at a text of repetitions", () => {
    // Every place of it is the beginning of a piece: the work on each has a bound.
    const stream = masking([{ name: "s", value: Buffer.alloc(64 * 1024, "a") }]).stream();
    const out = Buffer.concat([stream.push(Buffer.alloc(256 * 1024, "a")), stream.end()]);
    expect(out.equals(Buffer.alloc(256 * 1024, "*"))).toBe(true);
  });

  test("is fast at a text in which every place is the beginning of a thousand secrets, and of none", () => {
    const value = Array.from({ length: 1_000 }, (_, index) => `${"a".repeat(58)}${String(index).padStart(6, "0")}`);
    const stream = masking([{ name: "s", value: Buffer.from(value.join("")) }]).stream();
    const text = Buffer.alloc(64 * 1024, `${"a".repeat(150)}-`);
    expect(Buffer.concat([stream.push(text), stream.end()]).equals(text)).toBe(true);
  });

  test("is fast at a value with a long blank in it", () => {
    expect(formsOf(Buffer.from(`a${" ".repeat(65_000)}b`))).toHaveLength(6);
  });

  test("takes as many short lines as fit into the secrets of a task", () => {
    const lines = Array.from({ length: 30_000 }, (_, index) => `q${index.toString(36).padStart(4, "0")}`);
    const hidden = masking([{ name: "s", value: Buffer.from(lines.join("\n")) }]);
    expect(hidden.text("q0abc, q9zzz")).toBe("*****, q9zzz");
  });
});
