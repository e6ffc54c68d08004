/* The page of the API, drawn from openapi.json: it needs no other server. */
import {$, ask, make} from "./dom.js";

const METHODS = ["get", "post", "put", "delete"];
const told = await ask("GET", "/openapi.json");
const schemas = told.components?.schemas ?? {};
const named = schema => schema?.$ref ? schema.$ref.split("/").pop() : "";
const resolved = schema => schema?.$ref ? schemas[named(schema)] ?? {} : schema ?? {};

const article = $("article"), contents = $("contents");
/** Return a text as nodes: what stands in `backticks` is code. */
const written = text => text.split("`").map((part, index) => index % 2 ? make("code", {textContent: part}) : part);
article.replaceChildren(...told.info.description.trim().split("\n\n").map(text => make("p", {}, ...written(text.replaceAll("\n", " ")))));

const groups = new Map();
for (const [path, operations] of Object.entries(told.paths)) {
  for (const method of METHODS) {
    const operation = operations[method];
    if (!operation) continue;
    const tag = operation.tags?.[0] ?? "server";
    groups.set(tag, [...(groups.get(tag) ?? []), {method, path, operation}]);
  }
}
for (const [tag, operations] of groups) {
  article.append(make("h2", {textContent: tag}));
  contents.append(make("h2", {textContent: tag}));
  for (const each of operations) {
    const id = `${each.method}-${each.path.replace(/\W+/g, "-")}`;
    article.append(drawn(each, id));
    contents.append(make("a", {href: `#${id}`, textContent: each.operation.summary, title: `${each.method.toUpperCase()} ${each.path}`, onclick: () => { $(id).open = true; }}));
  }
}
if (location.hash) {
  const chosen = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (chosen) { chosen.open = true; chosen.scrollIntoView(); }
}
document.body.dataset.ready = "true";

function drawn({method, path, operation}, id) {
  const inside = make("div", {className: "inside"});
  if (operation.description) inside.append(make("p", {}, ...written(operation.description)));
  const given = operation.parameters ?? [];
  if (given.length) {
    inside.append(make("h3", {textContent: "Parameters"}), table(["name", "in", "type", ""], given.map(each =>
      [each.name + (each.required ? "" : "?"), each.in, typeOf(each.schema), each.description ?? ""])));
  }
  const body = operation.requestBody?.content?.["application/json"]?.schema;
  if (body) {
    inside.append(make("h3", {textContent: "Body"}), ...fields(body), make("pre", {textContent: curl(method, path, body)}));
  }
  inside.append(make("h3", {textContent: "Answers"}));
  for (const [status, answer] of Object.entries(operation.responses)) {
    const [kind, content] = Object.entries(answer.content ?? {})[0] ?? ["", {}];
    const schema = content.schema;
    inside.append(make("p", {}, make("b", {textContent: status}), ` ${answer.description}${kind && kind !== "application/json" ? ` (${kind})` : ""}${schema ? `: ${typeOf(schema)}` : ""}`));
    if (schema && status.startsWith("2")) inside.append(...fields(schema));
  }
  return make("details", {className: "operation", id},
    make("summary", {}, make("span", {className: "method", "data-method": method, textContent: method.toUpperCase()}),
      make("code", {textContent: path}), make("span", {className: "summary", textContent: operation.summary ?? ""})), inside);
}

function typeOf(schema = {}) {
  if (schema.$ref) return named(schema);
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.map(each => JSON.stringify(each)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${typeOf(schema.items ?? {}) || "anything"}`;
  if (schema.type === "object" && schema.additionalProperties) return `object of ${typeOf(schema.additionalProperties) || "anything"}`;
  return schema.type ?? "anything";
}

function fields(schema) {
  const inner = schema.type === "array" ? resolved(schema.items) : resolved(schema);
  if (!inner.properties) return [];
  const required = inner.required ?? [];
  return [table(["field", "type", ""], Object.entries(inner.properties).map(([name, each]) =>
    [name + (required.includes(name) ? "" : "?"), typeOf(each), each.description ?? ""]))];
}

function table(heads, rows) {
  return make("table", {}, make("thead", {}, make("tr", {}, ...heads.map(each => make("th", {textContent: each, scope: "col"})))),
    make("tbody", {}, ...rows.map(row => make("tr", {}, ...row.map((each, index) =>
      make("td", {}, index === 0 ? make("code", {textContent: each}) : String(each)))))));
}

function curl(method, path, schema) {
  const example = Object.fromEntries(Object.entries(resolved(schema).properties ?? {}).filter(([name, each]) => each.examples
    || (resolved(schema).required ?? []).includes(name)).map(([name, each]) => [name, each.examples?.[0] ?? (each.type === "string" ? "" : {})]));
  return `curl -X ${method.toUpperCase()} ${location.origin}${path} \\\n  -H 'content-type: application/json' \\\n  -d '${JSON.stringify(example).replaceAll("'", "'\\''")}'`;
}
