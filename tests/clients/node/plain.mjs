// A client that knows nothing of Zoho's SDKs: the fetch of Node.

import * as trap from "./trap.mjs";
import assert from "node:assert/strict";

const { SIDECAR } = process.env;
const COUNT = `${SIDECAR}/crm/v8/settings/territories/actions/associated_users_count`;

async function got(asked, status = 200) {
  const answer = await asked;
  if (answer.status !== status) assert.fail(`${answer.status} ${await answer.text()}`);
  return answer;
}
const sent = (method, path, body) => fetch(`${SIDECAR}${path}`, { method, body });

// A long upload is answered, not broken off, where there is no token for it.
if (process.argv[2] === "refused-upload") {
  for (const _ of [1, 2, 3]) {
    const upload = new FormData();
    upload.set("file", new Blob([new Uint8Array(3_000_000)]), "long.bin");
    const answer = await got(sent("POST", "/crm/v8/files", upload), 503);
    assert.equal((await answer.json()).code, "SIDECAR_TOKEN_UNAVAILABLE");
  }
  process.exit(0);
}

const form = new URLSearchParams({ grant_type: "refresh_token", refresh_token: "1000.made-up" });
const token = await (await got(sent("POST", "/oauth/v2/token", form))).json();
assert.equal(token.api_domain, SIDECAR);
const headers = { Authorization: `Zoho-oauthtoken ${token.access_token}` };
const first = await (await got(fetch(COUNT, { headers }))).text();
const second = await got(fetch(COUNT, { headers }));
assert.match(second.headers.get("cache-status"), /; hit/);
assert.equal(await second.text(), first);

const made = await (await got(sent("POST", "/crm/v8/Leads", '{"data":[{"Last_Name":"Made-Up"}]}'), 201)).json();
const lead = `/crm/v8/Leads/${made.data[0].details.id}`;
assert.equal((await (await got(sent("GET", lead))).json()).data[0].Last_Name, "Made-Up");
await got(sent("DELETE", lead));
await got(sent("GET", lead), 204);

const content = Uint8Array.from({ length: 1 << 20 }, (_, n) => n % 256);
const upload = new FormData();
upload.set("file", new Blob([content]), "made up.bin");
const stored = await (await got(sent("POST", "/crm/v8/files", upload))).json();
const file = await got(sent("GET", `/crm/v8/files?id=${stored.data[0].details.id}`));
assert.deepEqual(new Uint8Array(await file.arrayBuffer()), content);

const refused = await sent("POST", "/oauth/v2/auth", form);
assert.equal(refused.status, 404);
assert.equal((await refused.json()).code, "SIDECAR_OAUTH_UNKNOWN");
trap.check();
