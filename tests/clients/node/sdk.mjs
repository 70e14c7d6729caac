// Zoho's own SDK for Node, JavaScript or TypeScript and of any version, against the sidecar as a user writes it.
//
// SDK is the package's name, SIDECAR the base URL; calls go to the same place as token requests, unless API says
// otherwise. REFRESH_TOKEN or GRANT_TOKEN are what a user would have from Zoho.

import * as trap from "./trap.mjs";
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const { SDK, MODULES, SIDECAR, API = SIDECAR, CODE } = process.env;
const { resolve: find } = createRequire(`${resolve(MODULES)}/`);
const loaded = await import(pathToFileURL(find(SDK)));
const sdk = loaded.default ?? loaded;

// What the SDK leaves behind ends the process, as it would end its user's.
process.on("unhandledRejection", (error) => {
  console.error("left behind:", error);
  process.exit(1);
});

async function begin() {
  const environment = new sdk.Environment(API, `${SIDECAR}/oauth/v2/token`, API);
  const token = new sdk.OAuthBuilder().clientId("1000.MADEUP").clientSecret("made-up-secret");
  if (process.env.REFRESH_TOKEN) token.refreshToken(process.env.REFRESH_TOKEN);
  if (process.env.GRANT_TOKEN) token.grantToken(process.env.GRANT_TOKEN);
  const logger = new sdk.LogBuilder().level(sdk.Levels.ERROR).filePath(`${process.cwd()}/sdk.log`).build();
  const builder = await new sdk.InitializeBuilder();
  const told = builder
    .environment(environment)
    .token(token.build())
    .store(new sdk.FileStore(`${process.cwd()}/tokens.txt`))
    .resourcePath(process.cwd())
    .logger(logger);
  await (await told).initialize();
}

/** What Zoho said, which is of this kind. */
function said(answer, kind, status = 200) {
  assert(answer, "the SDK gave nothing");
  assert.equal(answer.getStatusCode(), status);
  const what = answer.getObject();
  assert(what instanceof kind, `${what?.constructor?.name} instead of ${kind.name}: ${what?.getMessage?.()}`);
  return what;
}

const maps = () => [new sdk.ParameterMap(), new sdk.HeaderMap()];

async function count() {
  const operations = new sdk.Territories.TerritoriesOperations();
  const rows = [];
  for (const _ of [1, 2]) {
    const counts = said(await operations.getAssociatedUserCount(), sdk.Territories.AssociatedUsersCountWrapper);
    const row = (count) => [count.getTerritory().getName(), count.getCount()];
    rows.push(counts.getAssociatedUsersCount().map(row));
  }
  assert(rows[0].length > 1 && rows[0].every(([name, users]) => name && users), String(rows[0]));
  assert.deepEqual(rows[1], rows[0]);
}

async function settings() {
  const territories = await new sdk.Territories.TerritoriesOperations().getTerritories(new sdk.ParameterMap());
  const [one] = said(territories, sdk.Territories.ResponseWrapper).getTerritories();
  assert(one.getId() && one.getName() && one.getCreatedTime());
  const operations = new sdk.Modules.ModulesOperations();
  // Some versions take headers alone.
  const modules = await operations.getModules(...(operations.getModules.length === 1 ? maps().slice(1) : maps()));
  const named = said(modules, sdk.Modules.ResponseWrapper).getModules().map((module) => module.getAPIName());
  assert(named.includes("Leads"), String(named));
  const [wanted, headers] = maps();
  await wanted.add(sdk.Fields.GetFieldsParam.MODULE, "Leads");
  const fields = await new sdk.Fields.FieldsOperations().getFields(wanted, headers);
  const names = said(fields, sdk.Fields.ResponseWrapper).getFields().map((field) => field.getAPIName());
  assert(names.includes("Last_Name"), String(names));
}

async function users() {
  const operations = new sdk.Users.UsersOperations();
  const [wanted, headers] = maps();
  try {
    await wanted.add(sdk.Users.GetUsersParam.TYPE, new sdk.Choice("ActiveUsers"));
  } catch {
    await wanted.add(sdk.Users.GetUsersParam.TYPE, "ActiveUsers");
  }
  const listed = said(await operations.getUsers(wanted, headers), sdk.Users.ResponseWrapper).getUsers();
  assert(listed.length > 1);
  const one = said(await operations.getUser(listed[0].getId(), headers), sdk.Users.ResponseWrapper);
  assert.equal(one.getUsers()[0].getEmail(), listed[0].getEmail());
}

/** The details of the only item that succeeded. */
function done(answer, status = 200) {
  const [item] = said(answer, sdk.Record.ActionWrapper, status).getData();
  assert(item instanceof sdk.Record.SuccessResponse, item.getMessage?.());
  return item.getDetails();
}

function wrapped(values) {
  const lead = new sdk.Record.Record();
  for (const [name, value] of Object.entries(values)) lead.addKeyValue(name, value);
  const body = new sdk.Record.BodyWrapper();
  body.setData([lead]);
  return body;
}

async function records() {
  const operations = new sdk.Record.RecordOperations("Leads");
  const [wanted, headers] = maps();
  const lead = wrapped({ Last_Name: "Made-Up", Email: "made-up@example.com" });
  const made = BigInt(done(await operations.createRecords(lead, headers), 201).get("id"));
  const [read] = said(await operations.getRecord(made, ...maps()), sdk.Record.ResponseWrapper).getData();
  assert.equal(read.getKeyValue("Last_Name"), "Made-Up");
  done(await operations.updateRecord(made, wrapped({ Last_Name: "Changed & Bénin" }), headers));
  await wanted.add(sdk.Record.GetRecordsParam.FIELDS, "Last_Name,Email");
  const leads = said(await operations.getRecords(wanted, headers), sdk.Record.ResponseWrapper).getData();
  const names = leads.filter((lead) => lead.getId() === made).map((lead) => lead.getKeyValue("Last_Name"));
  assert.deepEqual(names, ["Changed & Bénin"]);
  done(await operations.deleteRecord(made, ...maps()));
  assert.equal((await operations.getRecord(made, ...maps())).getStatusCode(), 204);
}

async function downloaded(answer, kind) {
  assert.equal(answer.getStatusCode(), 200);
  const file = await answer.getObject();
  assert(file instanceof kind, file?.constructor?.name);
  const stream = file.getFile().getStream();
  if (Buffer.isBuffer(stream)) return stream;
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function saved(name, content) {
  const path = `${process.cwd()}/${name}`;
  writeFileSync(path, content);
  return path;
}

function upload(name, content) {
  const body = new sdk.Files.BodyWrapper();
  body.setFile([new sdk.StreamWrapper(null, null, saved(name, content))]);
  return body;
}

async function files() {
  const content = Buffer.from(Array.from({ length: 16384 }, (_, n) => n % 256));
  const body = upload("made up.bin", content);
  const operations = new sdk.Files.FilesOperations();
  const [stored] = said(await operations.uploadFiles(body, ...maps()), sdk.Files.ActionWrapper).getData();
  assert(stored instanceof sdk.Files.SuccessResponse, stored.getMessage?.());
  const wanted = new sdk.ParameterMap();
  await wanted.add(sdk.Files.GetFileParam.ID, stored.getDetails().get("id"));
  const back = await downloaded(await operations.getFile(wanted), sdk.Files.FileBodyWrapper);
  assert(back.equals(content), `${back.length} bytes came back`);
}

async function bulk() {
  const module = new sdk.Modules.MinifiedModule();
  module.setAPIName("Leads");
  const query = new sdk.BulkRead.Query();
  query.setModule(module);
  query.setFields(["Last_Name"]);
  const body = new sdk.BulkRead.BodyWrapper();
  body.setQuery(query);
  const operations = new sdk.BulkRead.BulkReadOperations();
  const [begun] = said(await operations.createBulkReadJob(body), sdk.BulkRead.ActionWrapper, 201).getData();
  assert(begun instanceof sdk.BulkRead.SuccessResponse, begun.getMessage?.());
  const job = BigInt(begun.getDetails().get("id"));
  let state;
  for (let tries = 0; state !== "COMPLETED"; tries += 1) {
    assert(tries < 600, "the job did not end");
    const details = await operations.getBulkReadJobDetails(job);
    state = said(details, sdk.BulkRead.ResponseWrapper).getData()[0].getState().getValue();
    if (state !== "COMPLETED") await new Promise((wake) => setTimeout(wake, 50));
  }
  const result = await downloaded(await operations.downloadResult(job), sdk.BulkRead.FileBodyWrapper);
  assert.equal(result.subarray(0, 2).toString(), "PK");
}

/** The file of a bulk write, which goes to another of Zoho's hosts and names the organisation. */
async function archive() {
  const told = await new sdk.Org.OrgOperations().getOrganization();
  const [organisation] = said(told, sdk.Org.ResponseWrapper).getOrg();
  const body = new sdk.BulkWrite.FileBodyWrapper();
  // The smallest archive there is: one without files.
  const empty = Buffer.concat([Buffer.from("PK\x05\x06"), Buffer.alloc(18)]);
  body.setFile(new sdk.StreamWrapper(null, null, saved("Leads.zip", empty)));
  const headers = new sdk.HeaderMap();
  const { UploadFileHeader } = sdk.BulkWrite;
  await headers.add(UploadFileHeader.FEATURE, "bulk-write");
  await headers.add(UploadFileHeader.X_CRM_ORG, String(organisation.getZgid()));
  const answer = await new sdk.BulkWrite.BulkWriteOperations().uploadFile(body, headers);
  assert(said(answer, sdk.BulkWrite.SuccessResponse).getDetails().get("file_id"));
}

/** A refusal of the sidecar is to the SDK what an error of Zoho's is, in the place of a download too. */
async function refused() {
  const file = new sdk.ParameterMap();
  await file.add(sdk.Files.GetFileParam.ID, "made-up");
  const long = Buffer.alloc(3_000_000);
  const answers = [
    [await new sdk.Territories.TerritoriesOperations().getTerritories(new sdk.ParameterMap()), sdk.Territories],
    [await new sdk.Org.OrgOperations().getOrganization(), sdk.Org],
    [await new sdk.Files.FilesOperations().getFile(file), sdk.Files],
    [await new sdk.Files.FilesOperations().uploadFiles(upload("long.bin", long), ...maps()), sdk.Files],
  ];
  for (const [answer, { APIException }] of answers) {
    const error = await answer.getObject();
    assert(error instanceof APIException, error?.constructor?.name);
    assert.equal(error.getCode().getValue(), CODE);
    assert(error.getMessage());
    // Of other kinds the SDK keeps the details only that it knows.
    if (APIException === sdk.Files.APIException) assert(error.getDetails().get("remedy"));
  }
}

/** What the sidecar has against a request for a token, its user reads in the SDK's own exception. */
async function noToken() {
  // It comes when the token is first needed.
  const asked = begin().then(() => new sdk.Territories.TerritoriesOperations().getTerritories(new sdk.ParameterMap()));
  const words = (error) => [error?.message, error?.cause && words(error.cause), String(error)].join(" ");
  await assert.rejects(asked, (error) => words(error).includes(CODE) || assert.fail(words(error)));
}

const scenarios = { count, settings, users, records, files, bulk, archive, refused };
const wanted = process.argv.slice(2);
if (wanted[0] === "no-token") {
  await noToken();
} else {
  await begin();
  for (const name of wanted) {
    await scenarios[name]();
    console.log("done:", name);
  }
}
trap.check();
