// HTTP/2 with prior knowledge, by Node's own client: uploads of all lengths come whole, and go back whole.

import assert from "node:assert/strict";
import { once } from "node:events";
import http2 from "node:http2";

const { SIDECAR } = process.env;

const session = http2.connect(SIDECAR);
session.on("error", (error) => assert.fail(String(error)));

/** The answer to a request, whole. */
async function asked(headers, body) {
  const stream = session.request(headers);
  stream.end(body);
  const [answer] = await once(stream, "response");
  const parts = [];
  for await (const part of stream) parts.push(part);
  return { status: answer[":status"], headers: answer, body: Buffer.concat(parts) };
}

const COUNT = "/crm/v8/settings/territories/actions/associated_users_count";
const first = await asked({ ":path": COUNT });
const second = await asked({ ":path": COUNT });
assert.match(second.headers["cache-status"], /^zoho-sidecar; hit/);
assert.deepEqual(second.body, first.body);

/** Uploads a file and gets it back. */
async function uploaded(length) {
  const content = Buffer.from(Uint8Array.from({ length }, (_, n) => n % 251));
  const head = '--made-up\r\ncontent-disposition: form-data; name="file"; filename="made up.bin"\r\n\r\n';
  const body = Buffer.concat([Buffer.from(head), content, Buffer.from("\r\n--made-up--\r\n")]);
  const form = {
    ":method": "POST",
    ":path": "/crm/v8/files",
    "content-type": "multipart/form-data; boundary=made-up",
    "content-length": String(body.length),
  };
  const stored = await asked(form, body);
  assert.equal(stored.status, 200, String(stored.body));
  const { id } = JSON.parse(stored.body).data[0].details;
  const file = await asked({ ":path": `/crm/v8/files?id=${id}` });
  assert(file.body.equals(content), `other bytes came back of ${length}`);
}

// One after the other, and several that share the connection's window.
for (const length of [0, 1, 16_384, 3 << 20]) await uploaded(length);
await Promise.all([1, 2, 3, 4].map((n) => uploaded((n << 20) + n)));
session.close();
