// The page: reads the document of the API, and makes a section of each of its parts.

import { element, markdown } from "./elements.js";
import { Operation } from "./operations.js";
import { Schemas } from "./schemas.js";

const VERBS = ["get", "post", "put", "patch", "delete"];

/**
 * @param {string} id Of an element that is there.
 * @returns {any} The element.
 */
const byId = (id) => document.getElementById(id);

/** The headers that the reader wants with every request. */
function headers() {
  const lines = byId("headers").value.split("\n").filter((line) => line.includes(":"));
  return lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  });
}

/** @param {any} api The OpenAPI document. */
function show(api) {
  document.title = api.info.title;
  byId("title").textContent = api.info.title;
  if (api.info.version) byId("title").append(" ", element("small", { class: "soft" }, api.info.version));
  byId("about").append(markdown(api.info.description ?? ""));
  const schemas = new Schemas(api);
  const sections = new Map();
  const operations = [];
  for (const [path, verbs] of Object.entries(api.paths)) {
    for (const verb of VERBS.filter((name) => verbs[name])) {
      const operation = new Operation({ verb, path, about: verbs[verb], schemas, headers });
      operations.push(operation);
      const tag = verbs[verb].tags?.[0] ?? "";
      if (!sections.has(tag)) sections.set(tag, element("section", {}, element("h2", {}, tag || "API")));
      sections.get(tag).append(operation.element);
    }
  }
  byId("status").hidden = true;
  byId("operations").append(...sections.values());
  byId("filter").addEventListener("input", () => filter(operations, [...sections.values()]));
  const open = () => operations.find((item) => `#${item.element.id}` === location.hash)?.open();
  addEventListener("hashchange", open);
  open();
}

/**
 * Hides what the reader does not look for.
 * @param {Operation[]} operations All of them.
 * @param {HTMLElement[]} sections What they are in.
 */
function filter(operations, sections) {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const operation of operations) {
    operation.element.hidden = !words.every((word) => operation.text.includes(word));
  }
  let count = 0;
  for (const section of sections) {
    const shown = section.querySelectorAll(".operation:not([hidden])").length;
    section.hidden = !shown;
    count += shown;
  }
  byId("status").hidden = count > 0;
  byId("status").textContent = "Nothing here has all these words.";
}

try {
  const response = await fetch(new URL("openapi.json", document.baseURI));
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  show(await response.json());
} catch (error) {
  byId("status").textContent = `The description of the API cannot be had: ${error}`;
  byId("status").classList.add("fault");
}
