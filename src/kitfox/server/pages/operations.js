// One operation: what it takes and answers, and a form that sends it.

import { element, markdown } from "./elements.js";
import { Form } from "./forms.js";
import { Result } from "./results.js";
import { curl, send } from "./calls.js";

/** An operation of the API as an element that opens. */
export class Operation {
  /**
   * @param {object} given
   * @param {string} given.verb Such as `get`.
   * @param {string} given.path Of the route.
   * @param {any} given.about The document's operation object.
   * @param {import("./schemas.js").Schemas} given.schemas The document's schemas.
   * @param {() => string[][]} given.headers The headers for every request.
   */
  constructor({ verb, path, about, schemas, headers }) {
    this.verb = verb;
    this.path = path;
    this.about = about;
    this.schemas = schemas;
    this.headers = headers;
    this.text = `${verb} ${path} ${about.operationId} ${about.description ?? ""}`.toLowerCase();
    const summary = element(
      "summary",
      {},
      element("span", { class: `verb ${verb}` }, verb.toUpperCase()),
      element("span", { class: "path" }, path),
      element("span", { class: "soft" }, about.summary ?? ""),
    );
    this.element = element("details", { class: "operation", id: about.operationId }, summary);
    this.element.addEventListener("toggle", () => this.fill(), { once: true });
  }

  /** Opens it and brings it to the reader. */
  open() {
    this.element.open = true;
    this.element.scrollIntoView();
    this.element.querySelector("summary").focus();
  }

  /** Makes the inside, when it is first seen. */
  fill() {
    const { about, schemas } = this;
    const parameters = (about.parameters ?? []).map((item) => schemas.resolve(item));
    const body = schemas.resolve(about.requestBody);
    const form = new Form({ parameters, body, schemas });
    const [kind, content] = Object.entries(body.content ?? {})[0] ?? [];
    this.element.append(
      element(
        "div",
        {},
        markdown(about.description ?? about.summary ?? ""),
        element("p", { class: "soft" }, "Name: ", element("a", { href: `#${about.operationId}` }, about.operationId)),
        element("h3", {}, "Try it"),
        this.trial(form),
        content ? element("h3", {}, `What it takes (${kind})`) : null,
        content ? schemas.tree(content.schema) : null,
        element("h3", {}, "What it answers"),
        this.answers(),
      ),
    );
  }

  /**
   * The form with its buttons and the result.
   * @param {Form} form The fields.
   * @returns {HTMLElement} All of it.
   */
  trial(form) {
    const result = new Result();
    let control = new AbortController();
    const command = element("pre", {});
    const start = element("button", { type: "submit", class: "send" }, "Send");
    const stop = element("button", { type: "button", disabled: true, click: () => control.abort() }, "Stop");
    const submit = async (event) => {
      event.preventDefault();
      control = new AbortController();
      start.disabled = true;
      stop.disabled = false;
      try {
        const call = this.call(form);
        command.textContent = curl(call);
        await result.follow(() => send(call, control.signal));
      } catch (error) {
        result.fail(error);
      } finally {
        start.disabled = false;
        stop.disabled = true;
      }
    };
    const press = (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
    };
    const shell = element("details", {}, element("summary", {}, "The same with curl"), command);
    shell.addEventListener("toggle", () => {
      try {
        command.textContent = curl(this.call(form));
      } catch (error) {
        command.textContent = String(error);
      }
    });
    return element(
      "form",
      { submit, keydown: press, autocomplete: "off" },
      form.element,
      element("div", { class: "actions" }, start, stop),
      shell,
      result.element,
    );
  }

  /**
   * @param {Form} form What was filled in.
   * @returns {import("./calls.js").Call} What to send.
   */
  call(form) {
    // Below the folder of the page, wherever a proxy shows it.
    const url = new URL(this.path.slice(1), new URL(".", document.baseURI));
    for (const [name, value] of form.query()) url.searchParams.append(name, value);
    const { kind, body } = form.body();
    const headers = /** @type {[string, string][]} */ (this.headers());
    // The browser writes the type of a form itself, with the border between its parts.
    if (typeof body === "string") headers.push(["content-type", kind]);
    return { verb: this.verb, url, headers, body };
  }

  /** @returns {HTMLElement} The answers by status; failures, which are alike, behind one line. */
  answers() {
    const entries = Object.entries(this.about.responses);
    const failures = entries.filter(([status]) => !status.startsWith("2"));
    return element(
      "div",
      {},
      this.list(entries.filter(([status]) => status.startsWith("2"))),
      failures.length ? element("details", {}, element("summary", {}, "Failures"), this.list(failures)) : null,
    );
  }

  /**
   * @param {[string, any][]} entries Answers by status.
   * @returns {HTMLElement} A list.
   */
  list(entries) {
    const list = element("dl", { class: "answers" });
    for (const [status, item] of entries) {
      const answer = this.schemas.resolve(item);
      const [kind, content] = Object.entries(answer.content ?? {})[0] ?? [];
      const detail = element("dd", {}, markdown(answer.description ?? ""));
      if (content?.schema) {
        const shape = element("details", {}, element("summary", {}, kind));
        shape.addEventListener("toggle", () => shape.append(this.schemas.tree(content.schema)), { once: true });
        detail.append(shape);
      }
      list.append(element("dt", {}, status), detail);
    }
    return list;
  }
}
