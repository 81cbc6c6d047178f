// The page that shows both documents, and sends requests from them.

import { button, byId, h, valuesOf } from "./dom.js";

const TYPES = "#/components/schemas/";
const show = (value) => JSON.stringify(value, null, 2);

/** Text with `code` in it. */
const marked = (text) => text.split("`").map((part, number) => (number % 2 ? h("code", {}, part) : part));
const prose = (text = "") => text.split("\n\n").filter(Boolean).map((part) => h("p", {}, ...marked(part)));
const example = (value) => h("pre", { tabIndex: 0, role: "group", "aria-label": "Example" }, show(value));

/** A schema in a few words, with a link to each type that has a name. */
function kind(schema) {
  if (schema.$ref) {
    const name = schema.$ref.replace(TYPES, "");
    return [h("a", { href: `#type-${name}` }, name)];
  }
  if (schema.anyOf) return schema.anyOf.flatMap((each, number) => (number ? [" or ", ...kind(each)] : kind(each)));
  if (schema.type === "array") return ["list of ", ...kind(schema.items ?? {})];
  if ("const" in schema) return [h("code", {}, String(schema.const))];
  if (schema.enum) return schema.enum.flatMap((each, number) => [number ? " or " : "", h("code", {}, each)]);
  return [schema.type ?? "anything"];
}

/** The limits of a schema beyond its kind. */
function limits(schema) {
  const one = schema.anyOf?.[0] ?? schema;
  const words = [one.description];
  if (one.minLength) words.push(`At least ${one.minLength} characters.`);
  if (one.maxLength) words.push(`At most ${one.maxLength.toLocaleString("en")} characters.`);
  if (one.minimum !== undefined) words.push(`At least ${one.minimum}.`);
  if (one.default !== undefined) words.push(`Default ${one.default}.`);
  return words.filter(Boolean).join(" ");
}

function table(caption, rows) {
  const head = h("tr", {}, ...[caption, "type", "about"].map((name) => h("th", { scope: "col" }, name)));
  const cells = ([name, type, about]) => h("tr", {}, h("td", {}, h("code", {}, name)), h("td", {}, ...type), h("td", {}, ...marked(about)));
  return h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows.map(cells)));
}

function type(name, schema) {
  const rows = Object.entries(schema.properties ?? {}).map(([field, each]) => [
    schema.required?.includes(field) ? field : `${field}?`, kind(each), limits(each),
  ]);
  return h("details", { id: `type-${name}` }, h("summary", {}, h("code", {}, name)), ...prose(schema.description), table("field", rows));
}

// -- HTTP

function operation(document, path, method, row) {
  const parameters = (row.parameters ?? []).map((each) => [each.name, kind(each.schema), `In the ${each.in}. ${each.description} ${limits(each.schema)}`]);
  const body = row.requestBody?.content["application/json"];
  const answers = Object.entries(row.responses).map(([status, given]) => answer(status, resolved(document, given)));
  return h(
    "details",
    { id: row.operationId },
    h("summary", {}, h("code", {}, h("span", { className: "verb" }, method.toUpperCase()), ` ${path}`), h("span", { className: "about" }, ` ${row.summary}`)),
    ...prose(row.description),
    row.security && h("p", { className: "note" }, "Needs a token."),
    parameters.length ? table("parameter", parameters) : undefined,
    body && h("h3", {}, "Body: ", ...kind(body.schema)),
    body && example(body.example),
    sender(path, method, row, body),
    h("h3", {}, "Answers"),
    ...answers,
  );
}

function resolved(document, given) {
  return given.$ref ? document.components.responses[given.$ref.split("/").pop()] : given;
}

function answer(status, given) {
  const json = given.content?.["application/json"];
  const examples = json?.examples ? Object.values(json.examples).map((each) => each.value) : json?.example ? [json.example] : [];
  const kinds = json?.schema ? kind(json.schema) : [Object.keys(given.content ?? {}).join(" or ") || "no body"];
  const headers = Object.keys(given.headers ?? {}).map((name) => ` With ${name}.`);
  const about = given.description + headers.join("");
  return h("details", {}, h("summary", {}, h("code", {}, status), " ", ...marked(about)), h("p", {}, "Body: ", ...kinds), ...examples.map(example));
}

/** A form that sends the request, and shows what came back. */
function sender(path, method, row, body) {
  const result = h("pre", { hidden: true, tabIndex: 0, role: "status" });
  const inputs = (row.parameters ?? []).map((each) => h("label", {}, each.name, h("input", { name: each.name, autocomplete: "off" })));
  const form = h(
    "form",
    {},
    ...inputs,
    body && h("label", {}, "Body", h("textarea", { name: "(body)", spellcheck: false, value: show(body.example) })),
    h("p", {}, button("send", { type: "submit", className: "plain" }, "Send")),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { "(body)": content, ...values } = valuesOf(form);
    const token = byId("token").value.trim();
    const headers = { ...(content && { "Content-Type": "application/json" }), ...(row.security && token && { Authorization: `Bearer ${token}` }) };
    try {
      const got = await fetch(target(path, row, values), { method: method.toUpperCase(), headers, body: content });
      result.textContent = `${got.status}\n${pretty(await got.text())}`;
    } catch (error) {
      result.textContent = String(error);
    }
    result.hidden = false;
  });
  return h("details", {}, h("summary", {}, "Try it"), form, result);
}

/** The address below this page's, with the parameters in their places. */
function target(path, row, values) {
  const query = new URLSearchParams();
  for (const each of row.parameters ?? []) {
    if (each.in === "path") path = path.replace(`{${each.name}}`, encodeURIComponent(values[each.name]));
    else if (values[each.name]) query.set(each.name, values[each.name]);
  }
  return `.${path}${query.size ? `?${query}` : ""}`;
}

function pretty(text) {
  try {
    return show(JSON.parse(text));
  } catch {
    return text;
  }
}

// -- events

const messageOf = (document, reference) => document.components.messages[reference.$ref.split("/").pop()];

function event(document, name, row) {
  const message = messageOf(document, row.messages[0]);
  const replies = (row.reply?.messages ?? []).map((each) => messageOf(document, each));
  return h(
    "details",
    { id: `event-${name}` },
    h("summary", {}, h("code", {}, name), h("span", { className: "about" }, ` ${row.summary}`)),
    ...prose(row.description),
    h("p", {}, "Argument: ", ...(message.payload.type === "null" ? ["none"] : kind(message.payload))),
    ...examplesOf(message),
    replies.length ? h("h3", {}, "Acknowledgement") : undefined,
    ...replies.flatMap((each) => [h("p", {}, ...kind(each.payload)), ...examplesOf(each)]),
  );
}

const examplesOf = (message) =>
  [...(message.examples ?? []).map((each) => each.payload), ...(message.payload.examples ?? [])].map(example);

// -- the page

function section(id, title, about, ...children) {
  return h("section", { id }, h("h2", {}, title), ...prose(about), ...children);
}

function contents(sections) {
  const link = (element) => h("a", { href: `#${element.id}` }, element.querySelector("summary code").textContent);
  byId("contents").replaceChildren(
    ...sections.flatMap((each) => [h("h2", {}, each.querySelector("h2").textContent), ...[...each.children].filter((child) => child.id).map(link)]),
  );
}

/** Open what the address names. */
function reveal() {
  const named = byId(decodeURIComponent(location.hash.slice(1)));
  if (!named) return;
  if ("open" in named) named.open = true;
  named.scrollIntoView();
}

async function read(name) {
  const got = await fetch(name);
  if (!got.ok) throw new Error(`${name} answered ${got.status}`);
  return got.json();
}

async function start() {
  const [http, socket] = await Promise.all([read("openapi.json"), read("asyncapi.json")]);
  const rows = Object.entries(http.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, row]) => ({ path, method, row })));
  const subjects = http.tags.map((tag) =>
    section(`http-${tag.name}`, `HTTP: ${tag.name}`, tag.description, ...rows.filter(({ row }) => row.tags.includes(tag.name)).map(({ path, method, row }) => operation(http, path, method, row))),
  );
  const events = (action) => Object.entries(socket.operations).filter(([, row]) => row.action === action).map(([name, row]) => event(socket, name, row));
  const both = [
    section("to-server", "Events from clients", "", ...events("receive")),
    section("to-clients", "Events to clients", "", ...events("send")),
  ];
  const schemas = Object.entries({ ...socket.components.schemas, ...http.components.schemas }).sort(([one], [other]) => one.localeCompare(other, "en"));
  const types = section("types-all", "Types", "A field with `?` may be absent.", ...schemas.map(([name, schema]) => type(name, schema)));
  byId("http").replaceChildren(section("about-http", `HTTP, version ${http.info.version}`, http.info.description), ...subjects);
  byId("events").replaceChildren(section("about-events", "Socket.IO", socket.info.description), ...both);
  byId("types").replaceChildren(types);
  contents([...subjects, ...both, types]);
  addEventListener("hashchange", reveal);
  reveal();
}

start().catch((error) => (byId("problem").textContent = `The documents could not be read: ${error.message}`));
