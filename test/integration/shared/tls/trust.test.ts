import { execFile } from "node:child_process";
import { createServer } from "node:net";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { fingerprintOf } from "../../../../shared/tls/fingerprint.ts";
import { shownBy } from "../../../../shared/tls/handshake.ts";
import { trustOf } from "../../../../shared/tls/trust.ts";
import { httpsServer, listening, testAuthority } from "../../../support/tls-farm.ts";

test("a fingerprint finds its CA among what the server shows, whatever name the server is dialled by", async () => {
  const farm = await testAuthority();
  const address = `localhost:${await httpsServer(farm)}`;
  const trust = await trustOf({ address, fingerprint: farm.authority.fingerprint });
  expect(trust).toEqual({ caPem: farm.authority.caPem, checksName: false });
});

test("a server with another CA is refused, and both fingerprints are named", async () => {
  const [farm, other] = [await testAuthority(), await testAuthority()];
  const address = `127.0.0.1:${await httpsServer(other)}`;
  const { fingerprint } = farm.authority;
  await expect(trustOf({ address, fingerprint })).rejects.toMatchObject({
    code: "unauthenticated",
    message: expect.stringContaining(`the CA ${other.authority.fingerprint}, not ${fingerprint}`),
  });
});

test("a server that shows the right CA beside a certificate which it did not sign is refused", async () => {
  const [farm, other] = [await testAuthority(), await testAuthority()];
  const [leaf = ""] = other.certPem.split(/(?<=END CERTIFICATE-----\n)/);
  const address = `127.0.0.1:${await httpsServer({ certPem: leaf + farm.authority.caPem, keyPem: other.keyPem })}`;
  expect((await shownBy(address)).map(fingerprintOf)).toContain(farm.authority.fingerprint);
  await expect(trustOf({ address, fingerprint: farm.authority.fingerprint })).rejects.toMatchObject({
    code: "unauthenticated",
  });
});

test("a port that speaks no TLS is told from one where nobody listens", async () => {
  const { fingerprint } = (await testAuthority()).authority;
  const plain = await listening(createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")));
  await expect(trustOf({ address: `127.0.0.1:${plain}`, fingerprint })).rejects.toMatchObject({
    code: "failed_precondition",
    message: expect.stringContaining(`127.0.0.1:${plain} does not speak TLS`),
  });
  await expect(trustOf({ address: "127.0.0.1:1", fingerprint })).rejects.toMatchObject({ code: "unavailable" });
});

test("looking at a server that says nothing ends with its signal", async () => {
  const { fingerprint } = (await testAuthority()).authority;
  const stopping = new AbortController();
  const silent = await listening(createServer((socket) => void socket.once("data", () => stopping.abort())));
  const looking = trustOf({ address: `127.0.0.1:${silent}`, fingerprint, signal: stopping.signal });
  await expect(looking).rejects.toMatchObject({ code: "canceled" });
});

test("curl with -k takes the server that the pin is of, and refuses any other", async () => {
  const [farm, other] = [await testAuthority(), await testAuthority()];
  const url = `https://127.0.0.1:${await httpsServer(farm)}/`;
  const curl = (pin: string) => promisify(execFile)("curl", ["-fsSk", "--pinnedpubkey", pin, url]);
  expect((await curl(farm.pin)).stdout).toBe("served");
  // 90: CURLE_SSL_PINNEDPUBKEYNOTMATCH
  await expect(curl(other.pin)).rejects.toMatchObject({ code: 90, stdout: "" });
});
