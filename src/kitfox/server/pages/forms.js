// What a reader fills in for one call: query parameters, and a body in one of its types.

import { element, markdown } from "./elements.js";

let made = 0;

/** The fields of an operation. */
export class Form {
  /**
   * @param {object} given
   * @param {any[]} given.parameters The query parameters.
   * @param {any} given.body The document's request body; empty where there is none.
   * @param {import("./schemas.js").Schemas} given.schemas The document's schemas.
   */
  constructor({ parameters, body, schemas }) {
    this.schemas = schemas;
    this.contents = body.content ?? {};
    this.element = element("div", {});
    /** @type {{parameter: any, input: any}[]} */
    this.parameters = parameters.map((parameter) => ({ parameter, input: this.input(parameter.schema) }));
    /** @type {() => string | FormData | undefined} */
    this.read = () => undefined;
    this.kind = "";
    if (parameters.length) this.element.append(this.fields(this.parameters));
    const kinds = Object.keys(this.contents);
    if (!kinds.length) return;
    const area = element("div", {});
    const change = (kind) => area.replaceChildren(...this.choose(kind));
    if (kinds.length > 1) {
      const options = kinds.map((kind) => element("option", {}, kind));
      const choice = element("select", { change: () => change(choice.value) }, ...options);
      this.element.append(element("label", { class: "row" }, "Body as ", choice));
    }
    this.element.append(area);
    change(kinds[0]);
  }

  /** @returns {[string, string][]} Names and values of the query. */
  query() {
    const pairs = [];
    for (const { parameter, input } of this.parameters) {
      const values = isList(parameter.schema) ? input.value.split("\n").filter(Boolean) : [input.value];
      if (parameter.required || values.some(Boolean)) {
        pairs.push(...values.map((value) => [parameter.name, value]));
      }
    }
    return pairs;
  }

  /** @returns {{kind: string, body: string | FormData | undefined}} The body and its type. */
  body() {
    return { kind: this.kind, body: this.read() };
  }

  /**
   * @param {string} kind The body's type from now on.
   * @returns {HTMLElement[]} The fields for it.
   */
  choose(kind) {
    this.kind = kind;
    const content = this.contents[kind];
    return kind === "multipart/form-data" ? this.parts(content) : this.text(kind, content);
  }

  /**
   * A body that is written: JSON, or lines of it.
   * @param {string} kind Its type.
   * @param {any} content The document's media type.
   * @returns {HTMLElement[]} The fields.
   */
  text(kind, content) {
    const isLines = kind.includes("ndjson");
    const examples = this.schemas.examples(content);
    const show = (value) => {
      if (typeof value === "string" && isLines) return value;
      return isLines ? `${JSON.stringify(value)}\n` : JSON.stringify(value, null, 2);
    };
    const names = Object.keys(examples);
    const area = element("textarea", { spellcheck: "false", input: () => check() });
    const fault = element("span", { class: "fault", role: "status" });
    const fill = (name) => {
      area.value = show(examples[name]);
      area.rows = Math.min(24, area.value.split("\n").length + 1);
      check();
    };
    const check = () => {
      fault.textContent = isLines ? lineFault(area.value) : jsonFault(area.value);
    };
    fill(names[0]);
    this.read = () => area.value;
    const label = isLines ? "Body: one JSON object a line" : "Body";
    const choice = element(
      "select",
      { change: () => fill(choice.value) },
      ...names.map((name) => element("option", {}, name)),
    );
    return [
      names.length > 1 ? element("label", { class: "row" }, "Example ", choice) : element("div", {}),
      element("label", { class: "block" }, label, area),
      fault,
    ];
  }

  /**
   * A body of parts.
   * @param {any} content The document's media type.
   * @returns {HTMLElement[]} The fields.
   */
  parts(content) {
    const schema = this.schemas.resolve(content.schema);
    const required = new Set(schema.required ?? []);
    const json = this.contents["application/json"];
    const example = structuredClone(json ? Object.values(this.schemas.examples(json))[0] : {});
    // What has a part of its own must not be in the part for the whole as well.
    for (const name of Object.keys(schema.properties ?? {})) {
      const [last, ...path] = name.split(".").reverse();
      const whole = path.reduceRight((place, key) => place?.[key], example);
      if (path.length && whole) delete whole[last];
    }
    const parts = Object.entries(schema.properties ?? {}).map(([name, property]) => {
      const input = this.input(property, example?.[name]);
      return { parameter: { name, schema: property, required: required.has(name) }, input };
    });
    this.read = () => {
      const form = new FormData();
      for (const { parameter, input } of parts) {
        if (input.type === "file") for (const file of input.files) form.append(parameter.name, file);
        else if (input.value) form.append(parameter.name, input.value);
      }
      return form;
    };
    return [this.fields(parts)];
  }

  /**
   * @param {{parameter: any, input: any}[]} items Names, types and inputs.
   * @returns {HTMLElement} A grid with a label for each.
   */
  fields(items) {
    const cells = items.flatMap(({ parameter, input }) => {
      made += 1;
      input.id = `field-${made}`;
      const found = this.schemas.resolve(parameter.schema);
      const label = element(
        "label",
        { for: input.id },
        element("code", {}, parameter.name),
        parameter.required ? element("span", { class: "required" }, " required") : null,
        element("span", { class: "soft block" }, this.schemas.type(parameter.schema)),
      );
      const hint = isList(found) && input.type !== "file" && !input.value.startsWith("[") ? "One a line." : "";
      const text = markdown(parameter.description ?? found.description ?? hint);
      return [label, element("div", {}, input, text)];
    });
    return element("div", { class: "fields" }, ...cells);
  }

  /**
   * @param {any} schema Of a value.
   * @param {any} [value] What it begins with.
   * @returns {any} An input for it.
   */
  input(schema, value) {
    const found = this.schemas.resolve(schema);
    if (found.format === "binary") return element("input", { type: "file" });
    if (this.schemas.resolve(found.items).format === "binary") {
      return element("input", { type: "file", multiple: true });
    }
    const text = value === undefined || typeof value === "string" ? (value ?? "") : JSON.stringify(value);
    const isText = found.type === "string" || found.type === "integer" || found.type === "number";
    if (isText && !text.includes("\n")) return element("input", { type: "text", value: text });
    return element("textarea", { rows: 2, spellcheck: "false" }, text);
  }
}

/** @param {any} schema Of a value. */
function isList(schema) {
  return schema?.type === "array";
}

/**
 * @param {string} text Meant to be JSON.
 * @returns {string} What is wrong with it; empty when nothing is.
 */
function jsonFault(text) {
  try {
    JSON.parse(text);
    return "";
  } catch (error) {
    return `This is no JSON: ${error.message}`;
  }
}

/**
 * @param {string} text Meant to be lines of JSON.
 * @returns {string} What is wrong with the first bad line; empty when none is.
 */
function lineFault(text) {
  for (const [index, line] of text.split("\n").entries()) {
    const fault = line.trim() && jsonFault(line);
    if (fault) return `Line ${index + 1}: ${fault}`;
  }
  return "";
}
