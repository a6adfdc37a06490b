// A strict client in another language: every answer of the sandbox must have exactly the fields and types below.
// Usage: node strict.mjs BASE_URL PREMIUM_TOKEN FREE_TOKEN SONG
import { readFile } from "node:fs/promises";
import { basename } from "node:path";

const [base, premium, free, songPath] = process.argv.slice(2);

// Types. A decoder takes a value and its path, and throws if the value is of another type.
const fail = (path, wanted, value) => {
  throw new TypeError(`${path}: expected ${wanted}, got ${JSON.stringify(value)?.slice(0, 200)}`);
};
const of = (type) => (value, path) => typeof value === type || fail(path, type, value);
const string = of("string"), boolean = of("boolean"), number = of("number");
const integer = (value, path) => Number.isInteger(value) || fail(path, "an integer", value);
const flag = (value, path) => value === 0 || value === 1 || fail(path, "0 or 1", value);
const literal = (...wanted) => (value, path) => wanted.includes(value) || fail(path, wanted.join(" or "), value);
const text = (pattern) => (value, path) =>
  (typeof value === "string" && pattern.test(value)) || fail(path, String(pattern), value);
const any = () => true;
const nullable = (type) => (value, path) => value === null || type(value, path);
const optional = (type) => Object.assign((value, path) => value === undefined || type(value, path), { optional: true });
const array = (type) => (value, path) => {
  Array.isArray(value) || fail(path, "an array", value);
  value.forEach((item, index) => type(item, `${path}[${index}]`));
};
const record = (type) => (value, path) => {
  (value && typeof value === "object" && !Array.isArray(value)) || fail(path, "an object", value);
  Object.entries(value).forEach(([key, item]) => type(item, `${path}.${key}`));
};
const json = (type) => (value, path) => {
  string(value, path);
  type(JSON.parse(value), `${path} (JSON)`);
};
const struct = (fields) => (value, path) => {
  (value && typeof value === "object" && !Array.isArray(value)) || fail(path, "an object", value);
  for (const key of Object.keys(value)) key in fields || fail(`${path}.${key}`, "no such field", value[key]);
  for (const [key, type] of Object.entries(fields)) {
    key in value || type.optional || fail(`${path}.${key}`, "a value", undefined);
    type(value[key], `${path}.${key}`);
  }
};

const date = text(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
const hash = text(/^\d{14}-[0-9a-f]{10}-[a-z0-9-]+\.[a-z0-9]+$/);
const anyHash = text(/^(\d{14}-[0-9a-f]{10}-[a-z0-9-]+\.[a-z0-9]+|[0-9A-Za-z]{16})$/);
const size = text(/^\d+\.\d\d (B|KB|MB|GB)$/);
const url = text(/^http:\/\/127\.0\.0\.1:\d+\/(api|storage)\//);

const group = struct({ id: integer, name: string, created_at: date, updated_at: date });
const brief = {
  name: string, algorithm_group_id: integer, orientation: literal(0, 1, 2), render_id: integer, order_id: integer,
  created_at: nullable(date), updated_at: nullable(date),
};
const rule = struct({
  id: integer, algorithm_id: integer, field_id: integer, option_key: string, mode: literal("multiplier"),
  value: text(/^\d+\.\d{4}$/), created_at: date, updated_at: date,
});
const condition = struct({
  id: integer, algorithm_id: integer, field_id: integer, depends_on_field_id: integer, operator: literal("in"),
  value_json: array(string), action: literal("show", "hide"), created_at: date, updated_at: date,
});
const field = struct({
  id: integer, name: text(/^add_opt\d$/), text: string, algorithm_id: integer, options: json(record(string)),
  output_overrides: nullable(json(record(any))), created_at: date, updated_at: date, default_key: nullable(string),
  server_key: string, input_type: literal("select", "text", "textarea"), required: flag, help_link: nullable(string),
  registered_only_keys: nullable(any), price_rules: array(rule), conditions: array(condition),
});
const algorithm = struct({
  ...brief, id: integer, algorithm_group: group, additional_fields: any, price_coefficient: number, is_active: flag,
  audio_upload_disabled: flag, audio_widget: literal("single_upload", "no_upload", "matchering_upload"),
  allow_resample: flag, output_stems: nullable(json(array(string))), outputs: nullable(json(record(string))),
  output_variants: nullable(json(struct({ keys: array(string), variants: array(any) }))), description: string,
  usage: integer, rating: struct({ average: text(/^\d\.\d{4}$/), total: integer }), algorithm_fields: array(field),
  algorithm_descriptions: array(struct({
    id: integer, short_description: string, long_description: string, lang: literal("en", "ru"),
    algorithm_id: integer, created_at: date, updated_at: date,
  })),
});
const user = struct({
  name: string, email: string, api_token: string, premium_minutes: number, premium_enabled: flag,
  long_filenames_enabled: flag, copy_metadata: flag, created_at: date, updated_at: date,
  current_queue: array(struct({ id: integer, hash: anyHash, created_at: date })),
});
const done = struct({
  hash, algorithm: string, algorithm_description: string, output_format: string, size, tags: record(any), date,
  input_file: optional(struct({ url, size, download: string })), transcription: optional(string),
  image: optional(url),
  files: array(struct({
    url, size, bytes: integer, download: text(/^[\w-]+\.\w+$/), type: string, name: optional(string),
    link: optional(url), stem: optional(string), peaks: optional(array(number)),
  })),
});
const place = { queue_count: integer, current_order: integer };
const chunks = { finished_chunks: integer, all_chunks: integer };
const message = struct({ message: string });
const states = {
  waiting: struct(place),
  distributing: struct({ ...place, ...chunks }),
  processing: message,
  merging: struct({ message: string, ...chunks }),
  done,
  failed: message,
  not_found: message,
};
const job = (status) =>
  struct({ success: literal(status !== "not_found"), status: literal(status), data: states[status] });
const created = struct({ success: literal(true), data: struct({ hash, link: url }) });
const createdRemote = struct({ success: literal("true"), data: struct({ hash: anyHash, link: url }) });
const said = struct({ success: literal(true), message: string });
const refused = struct({ success: literal(false), errors: array(string) });
const refusedForm = struct({ success: literal(false), message: record(array(string)) });
const data = (type) => struct({ success: literal(true), data: type });
const demo = struct({
  hash, date: text(/^\d{4}-\d\d-\d\d \d\d:\d\d$/), input_audio: text(/^https?:/), size: optional(size),
  algorithm: struct(brief),
});
const score = nullable(number);
const entry = struct({
  id: integer, dataset_type: string, date, algo_name: string, main_text: string, ensemble: flag, proc: flag,
  proc_remote_date: nullable(date), msg: string, metrics: nullable(struct({ sdr: record(number) })),
  sdr_vocals: score, sdr_instrum: score, sdr_bass: score, sdr_drums: score, sdr_other: score, dataset_name: string,
});

// Requests. Each one names the status and the type that its answer must have.
let answers = 0;
async function call(method, path, parameters, status, type) {
  const target = new URL(path, `${base}/api/`);
  const body = method === "POST" ? new FormData() : undefined;
  for (const [key, value] of Object.entries(parameters)) {
    if (body === undefined) target.searchParams.set(key, value);
    else if (value instanceof File) body.set(key, value);
    else body.set(key, String(value));
  }
  const response = await fetch(target, { method, body });
  const name = `${method} ${path}`;
  if (response.status !== status) fail(name, `status ${status}`, `${response.status} ${await response.text()}`);
  for (const header of ["x-ratelimit-limit", "x-ratelimit-remaining"])
    text(/^\d+$/)(response.headers.get(header), `${name} ${header}`);
  const received = await response.text();
  // Go, Rust and C# do not read 20.0 into an integer; JavaScript does not see the difference. A song's tags have
  // lengths, which are not integers.
  if (path !== "separation/get" && /[:[,]\s*-?\d+\.0+\s*[,}\]]/.test(received)) fail(name, "whole numbers without a fraction", received);
  const answer = JSON.parse(received);
  type(answer, name);
  answers += 1;
  return answer;
}
const get = (path, parameters, type, status = 200) => call("GET", path, parameters, status, type);
const post = (path, parameters, type, status = 200) => call("POST", path, parameters, status, type);
const control = (command, body) =>
  fetch(`${base}/_sandbox/${command}`, { method: "POST", body: JSON.stringify(body) }).then((response) => {
    if (!response.ok) throw new Error(`${command}: ${response.status}`);
  });
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const song = new File([await readFile(songPath)], basename(songPath));
const token = { api_token: premium };
const create = async (parameters) =>
  (await post("separation/create", { ...token, audiofile: song, sep_type: 40, ...parameters }, created)).data.hash;
const see = (found, status) => get("separation/get", { hash: found }, job(status));
async function finished(found) {
  await control("finish", { hash: found });
  while ((await fetch(`${base}/api/separation/get?hash=${found}`).then((one) => one.json())).status !== "done")
    await sleep(20);
  return (await see(found, "done")).data;
}

// The site.
await get("app/algorithms", {}, array(algorithm));
await get("app/algorithms", { ...token, scopes: "no_upload,matchering_upload" }, array(algorithm));
for (const lang of ["en", "ru", "es"])
  await get("app/news", { lang, limit: 20 }, array(struct({
    id: integer, title: string, lang: literal(lang), text: string, status: integer, created_at: date, updated_at: date,
  })));
const queue = struct({ in_process: integer, premium: integer, registered: integer, unregistered: integer });
await get("app/queue", {}, struct({ queue }));
await get("app/queue", token, struct({
  queue, current: struct({ plan: literal("premium", "registered"), queue: integer }),
  free_separations: struct({ left: integer, max: integer }),
}));
await get("app/queue/summary", token, data(struct({ ahead: integer, estimated_wait_seconds: integer })));

// The account.
const person = { name: "N", email: "n@example.com", password: "12345678", password_confirmation: "12345678" };
await post("app/register", person, said);
await post("app/register", person, refusedForm, 400);
await post("app/login", { email: person.email, password: person.password }, data(user));
await post("app/login", { email: person.email, password: "wrong" }, refusedForm, 400);
await get("app/user", token, data(user));
await get("app/user", { api_token: "wrong" }, refused, 400);
for (const name of ["disable_premium", "enable_premium", "enable_long_filenames", "disable_long_filenames"])
  await post(`app/${name}`, token, said);
await get("purchases", token, struct({
  success: literal(true), total: integer, limit: integer, offset: integer,
  data: array(struct({
    id: integer, credits: integer, amount: text(/^\d+\.\d\d$/), currency: string, status: string, created_at: date,
    updated_at: date,
  })),
}));
const alert = data(struct({ credit_threshold: integer }));
await get("credit_alert", token, alert);
await post("credit_alert", { ...token, credit_threshold: 20 }, alert);

// A job in every status.
const first = await create({ output_format: 2, is_demo: 1 });
await see(first, "waiting");
await control("start", { hash: first });
await see(first, "processing");
for (const status of ["distributing", "merging"]) {
  const counts = { finished_chunks: 1, all_chunks: 4 };
  const body = status === "merging" ? { message: "m", ...counts } : counts;
  await control("show", { hash: first, status, data: body });
  const type = status === "merging" ? struct({ ...place, message: string, ...chunks }) : states.distributing;
  await get("separation/get", { hash: first }, struct({ success: boolean, status: literal(status), data: type }));
}
await control("show", { hash: first });
const result = await finished(first);
for (const file of result.files) {
  const body = await (await fetch(file.url)).arrayBuffer();
  if (body.byteLength !== file.bytes) fail(file.url, `${file.bytes} bytes`, body.byteLength);
}
await get("app/demo", { limit: 20 }, array(demo));
await get("separation/get", { ...token, hash: first, mirror: 1 }, job("done"));
await finished(await create({ sep_type: 39 }));
await finished(await create({ sep_type: 113 }));
const failing = await create({});
await control("fail", { hash: failing, message: "no" });
await see(failing, "failed");
const cancelled = await create({});
await post("separation/cancel", { ...token, hash: cancelled }, said);
await see(cancelled, "not_found");
await post("separation/cancel", { ...token, hash: "none" }, refused, 400);
await post("separation/delete", { ...token, hash: first }, said);
await see(first, "not_found");
await get("app/separation_history", { ...token, limit: 20 }, data(array(struct({
  id: integer, hash, created_at: date, updated_at: date, job_exists: boolean, credits: nullable(integer),
  time_left: integer, algorithm: struct({ ...brief, algorithm_group: group }),
}))));

// A URL job.
const source = await create({});
const link = (await finished(source)).input_file.url;
await control("set", { fetch_seconds: 3600 });
const remote = (await post("separation/create", { ...token, url: link, remote_type: "direct" }, createdRemote)).data;
await get("separation/get-remote", { hash: remote.hash }, struct({ success: literal(false), data: message }));
let fetched = { status: "" };
while (fetched.status !== "done") {
  await control("advance", { seconds: 3600 });
  await sleep(20);
  fetched = await fetch(`${base}/api/separation/get-remote?hash=${remote.hash}`).then((one) => one.json());
}
await get("separation/get-remote", { hash: remote.hash }, struct({
  success: literal(true), status: literal("done"), data: struct({ hash, link: url }),
}));
await see(fetched.data.hash, "waiting");

// Refusals of create.
const freely = { api_token: free, audiofile: song, sep_type: 40 };
await post("separation/create", freely, created);
for (const parameters of [
  freely, { ...freely, sep_type: 28 }, { ...freely, sep_type: 9999 }, { ...freely, output_format: 5 }, { api_token: free },
])
  await post("separation/create", parameters, refused, 400);
await post("separation/create", { ...freely, api_token: "wrong" }, refused, 401);

// The quality checker.
const zipfile = new File([new Uint8Array([0x50, 0x4b, 5, 6, ...Array(18).fill(0)])], "r.zip");
const added = await post(
  "quality_checker/add",
  { ...token, zipfile, algo_name: "Mine", main_text: "t", dataset_type: 1, ensemble: 0, password: "p" },
  data(struct({ id: integer, link: url })),
);
const id = added.data.id;
await get("quality_checker/entry", { id }, entry);
await control("advance", { seconds: 3600 });
await get("quality_checker/entry", { id }, entry);
await get("quality_checker/queue", {}, array(entry));
await get("quality_checker/leaderboard", { dataset_type: 1 }, struct({
  success: literal(true), data: array(entry), dataset_type: string, sortables: array(string), sort: string,
}));
await post("quality_checker/delete", { id, password: "p" }, data(message));

console.log(`${answers} answers`);
