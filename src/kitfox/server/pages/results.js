// What came back: status, headers, and a body as its type asks for, while it comes.

import { element } from "./elements.js";
import { events, indented, lines } from "./calls.js";

const MOST_EVENTS = 1000;
const MOST_TEXT = 2_000_000;

/** The place where answers are shown. */
export class Result {
  constructor() {
    this.status = element("p", { role: "status" });
    this.content = element("div", {});
    this.element = element("div", { class: "result" }, this.status, this.content);
    this.links = [];
  }

  /**
   * Shows an answer from its beginning to its end.
   * @param {() => Promise<Response>} start Sends the request.
   */
  async follow(start) {
    const started = performance.now();
    const time = () => `${(performance.now() - started).toFixed(0)} ms`;
    this.links.splice(0).forEach((link) => URL.revokeObjectURL(link));
    this.content.replaceChildren();
    this.status.className = "";
    this.status.textContent = "Waiting for the answer …";
    const response = await start();
    const line = `${response.status} ${response.statusText}`.trim();
    this.status.className = response.ok ? "" : "fault";
    this.status.textContent = `${line} after ${time()}; reading …`;
    const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    this.content.append(
      element("details", {}, element("summary", {}, "Headers of the answer"), element("pre", {}, headers)),
    );
    const kind = (response.headers.get("content-type") ?? "").split(";")[0].trim();
    const size = await this.body(response, kind, time);
    this.status.textContent = `${line} in ${time()}, ${size}`;
  }

  /** @param {any} error Why there is no answer, or not the whole of it. */
  fail(error) {
    const stopped = error?.name === "AbortError";
    this.status.className = stopped ? "" : "fault";
    this.status.textContent = stopped ? "Stopped." : `There was no answer: ${error?.message ?? error}`;
  }

  /**
   * @param {Response} response The answer.
   * @param {string} kind Its type.
   * @param {() => string} time How long it takes so far.
   * @returns {Promise<string>} How much it was.
   */
  async body(response, kind, time) {
    const isFile = (response.headers.get("content-disposition") ?? "").startsWith("attachment");
    if (kind === "text/event-stream") return this.stream(events(response), time);
    if (kind.includes("ndjson")) return this.stream(toEvents(lines(response)), time);
    if (/^text\/|[/+]json$/.test(kind) && !isFile) {
      const text = await response.text();
      if (text) this.content.append(element("pre", {}, indented(text).slice(0, MOST_TEXT)));
      return `${new TextEncoder().encode(text).length} bytes`;
    }
    const blob = await response.blob();
    if (blob.size) this.file(response, kind, blob);
    return `${blob.size} bytes`;
  }

  /**
   * @param {AsyncIterable<{event: string, data: string}>} found The events.
   * @param {() => string} time How long it takes so far.
   * @returns {Promise<string>} How many they were.
   */
  async stream(found, time) {
    const list = element("ol", { class: "events", tabindex: "0", "aria-label": "Events" });
    this.content.append(list);
    let count = 0;
    for await (const { event, data } of found) {
      count += 1;
      const parts = [
        element("span", { class: "soft" }, time()),
        element("span", { class: event === "error" ? "fault" : "" }, event),
        element("code", {}, data),
      ];
      list.append(element("li", {}, ...parts));
      if (list.childElementCount > MOST_EVENTS) list.firstElementChild.remove();
    }
    return count === 1 ? "1 event" : `${count} events`;
  }

  /**
   * Offers a file, and shows it if it is a picture or a sound.
   * @param {Response} response The answer.
   * @param {string} kind Its type.
   * @param {Blob} blob Its content.
   */
  file(response, kind, blob) {
    const link = URL.createObjectURL(blob);
    this.links.push(link);
    const named = /filename="?([^";]+)/.exec(response.headers.get("content-disposition") ?? "");
    const name = named?.[1] ?? "answer";
    this.content.append(element("p", {}, element("a", { href: link, download: name }, `Save ${name}`)));
    if (kind.startsWith("image/")) this.content.append(element("img", { src: link, alt: name }));
    if (kind.startsWith("audio/")) this.content.append(element("audio", { src: link, controls: true }));
  }
}

/**
 * @param {AsyncIterable<string>} found Lines of JSON.
 * @yields {{event: string, data: string}}
 */
async function* toEvents(found) {
  for await (const line of found) yield { event: "message", data: line };
}
