// JSON Schemas of the document: followed, shown as trees, and as examples.

import { element, markdown } from "./elements.js";

const MOST_DEPTH = 6;

/** The document's schemas. */
export class Schemas {
  /** @param {any} document The OpenAPI document. */
  constructor(document) {
    this.document = document;
  }

  /**
   * What an object stands for, references followed.
   * @param {any} value Anything of the document.
   * @returns {any} The same without `$ref`; what stands beside it wins.
   */
  resolve(value) {
    let found = value;
    for (let steps = 0; found?.$ref?.startsWith("#/") && steps < 20; steps += 1) {
      const { $ref, ...beside } = found;
      const names = $ref.slice(2).split("/").map((name) => name.replace(/~1/g, "/").replace(/~0/g, "~"));
      const target = names.reduce((place, name) => place?.[name], this.document);
      found = { ...target, ...beside };
    }
    return found ?? {};
  }

  /**
   * A type in a few words.
   * @param {any} schema A schema.
   * @returns {string} Such as `array of HelloWorldInput`.
   */
  type(schema) {
    if (schema?.$ref) return schema.$ref.split("/").pop();
    const options = schema?.anyOf ?? schema?.oneOf;
    if (options) return [...new Set(options.map((option) => this.type(option)))].join(" or ");
    if (schema?.type === "array") return `array of ${this.type(schema.items)}`;
    if (schema?.type === "object" && typeof schema.additionalProperties === "object") {
      return `map of ${this.type(schema.additionalProperties)}`;
    }
    const type = [schema?.type ?? "anything"].flat().join(" or ");
    return schema?.format ? `${type} (${schema.format})` : type;
  }

  /**
   * A schema as a tree that opens step by step.
   * @param {any} schema The schema.
   * @returns {HTMLElement} The tree.
   */
  tree(schema) {
    const found = this.resolve(schema);
    if (found.properties) return this.properties(found);
    const inner = this.inner(found);
    const line = element("p", {}, element("code", {}, this.type(schema)), this.facts(found));
    return element("div", {}, line, inner ? this.tree(inner) : null);
  }

  /**
   * @param {any} schema One with properties.
   * @returns {HTMLElement} A list of them.
   */
  properties(schema) {
    const required = new Set(schema.required ?? []);
    const items = Object.entries(schema.properties).map(([name, property]) => {
      const found = this.resolve(property);
      const head = [
        element("code", {}, name),
        " ",
        element("span", { class: "soft" }, this.type(property)),
        required.has(name) ? element("span", { class: "required" }, " required") : null,
        this.facts(found),
      ];
      const inner = this.inner(found);
      if (!inner) return element("li", {}, ...head);
      // Made when it is opened: schemas may contain themselves.
      const box = element("details", {}, element("summary", {}, ...head));
      box.addEventListener("toggle", () => box.append(this.tree(inner)), { once: true });
      return element("li", {}, box);
    });
    return element("ul", { class: "schema" }, ...items);
  }

  /**
   * @param {any} schema A schema, resolved.
   * @returns {any} The schema with properties that it is, holds or may be; none for others.
   */
  inner(schema) {
    if (schema.properties) return schema;
    const options = schema.anyOf ?? schema.oneOf ?? [];
    const below = [schema.items, schema.additionalProperties, ...options, schema.contentSchema];
    for (const item of below) {
      if (item && typeof item === "object") {
        const found = this.inner(this.resolve(item));
        if (found) return found;
      }
    }
    return null;
  }

  /**
   * @param {any} schema A schema, resolved.
   * @returns {DocumentFragment} What else is known: text, default, names.
   */
  facts(schema) {
    const result = document.createDocumentFragment();
    if (schema.default !== undefined) {
      result.append(" ", element("span", { class: "soft" }, `default ${JSON.stringify(schema.default)}`));
    }
    const options = schema.anyOf ?? schema.oneOf ?? [];
    const names = schema.enum ?? options.flatMap((option) => this.resolve(option).enum ?? []);
    if (names.length) result.append(" ", element("span", { class: "soft" }, `one of ${names.join(", ")}`));
    if (schema.description) result.append(markdown(schema.description));
    return result;
  }

  /**
   * The examples of a body or parameter, by name.
   * @param {any} content An OpenAPI media type or parameter.
   * @returns {Record<string, any>} At least one: made from the schema if the author gave none.
   */
  examples(content) {
    if (content.examples && !Array.isArray(content.examples)) {
      const entries = Object.entries(content.examples);
      return Object.fromEntries(entries.map(([name, item]) => [name, this.resolve(item).value]));
    }
    return { example: content.example ?? this.example(content.schema) };
  }

  /**
   * A value that fits a schema.
   * @param {any} schema The schema.
   * @param {number} [depth] How deep it lies.
   * @returns {any} The value; undefined where there is none.
   */
  example(schema, depth = 0) {
    const found = this.resolve(schema);
    if (found.examples?.length) return found.examples[0];
    if (found.default !== undefined) return found.default;
    if (found.enum) return found.enum[0];
    if (depth > MOST_DEPTH) return undefined;
    const options = found.anyOf ?? found.oneOf;
    if (options) return this.example(options[0], depth + 1);
    switch (found.type) {
      case "object": {
        const entries = Object.entries(found.properties ?? {});
        const values = entries.map(([name, item]) => [name, this.example(item, depth + 1)]);
        return Object.fromEntries(values.filter(([, value]) => value !== undefined));
      }
      case "array": {
        const item = this.example(found.items, depth + 1);
        return item === undefined ? [] : [item];
      }
      case "integer":
        return 1;
      case "number":
        return 0.5;
      case "boolean":
        return true;
      case "string":
        return found.format === "binary" ? undefined : "text";
      default:
        return undefined;
    }
  }
}
