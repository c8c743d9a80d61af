// Calls of the API: what is sent, and answers as they come.

/**
 * @typedef {object} Call
 * @property {string} verb
 * @property {URL} url
 * @property {[string, string][]} headers
 * @property {string | FormData | undefined} body
 */

/**
 * Sends a request.
 * @param {Call} call What to send.
 * @param {AbortSignal} signal Ends it.
 * @returns {Promise<Response>} The answer; its body may still be coming.
 */
export function send(call, signal) {
  return fetch(call.url, {
    method: call.verb.toUpperCase(),
    headers: call.headers,
    body: call.body,
    signal,
    cache: "no-store",
  });
}

/**
 * The events of a `text/event-stream` answer, as they come.
 * @param {Response} response The answer.
 * @yields {{event: string, data: string}}
 */
export async function* events(response) {
  let rest = "";
  for await (const text of texts(response)) {
    rest += text;
    const blocks = rest.split(/\r\n\r\n|\n\n|\r\r/);
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      let event = "message";
      const data = [];
      for (const line of block.split(/\r\n|\n|\r/)) {
        const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
        if (field === "event") event = value;
        if (field === "data") data.push(value);
      }
      if (data.length) yield { event, data: data.join("\n") };
    }
  }
}

/**
 * The lines of an answer, as they come.
 * @param {Response} response The answer.
 * @yields {string}
 */
export async function* lines(response) {
  let rest = "";
  for await (const text of texts(response)) {
    rest += text;
    const found = rest.split("\n");
    rest = found.pop() ?? "";
    yield* found.filter((line) => line.trim());
  }
  if (rest.trim()) yield rest;
}

/**
 * @param {Response} response The answer.
 * @yields {string}
 */
async function* texts(response) {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * JSON text with line breaks and indentation. Numbers stay as they were written: a 64-bit integer
 * does not survive a parser that knows only doubles.
 * @param {string} text JSON.
 * @returns {string} The same, or the text itself if it is no JSON.
 */
export function indented(text) {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  let result = "";
  let depth = 0;
  tokens.forEach((token, index) => {
    const empty = /[{[]/.test(token) && /[}\]]/.test(tokens[index + 1] ?? "");
    const closesEmpty = /[}\]]/.test(token) && /[{[]/.test(tokens[index - 1] ?? "");
    if (token === "{" || token === "[") {
      depth += 1;
      result += token + (empty ? "" : `\n${"  ".repeat(depth)}`);
    } else if (token === "}" || token === "]") {
      depth -= 1;
      result += (closesEmpty ? "" : `\n${"  ".repeat(depth)}`) + token;
    } else if (token === ",") {
      result += `,\n${"  ".repeat(depth)}`;
    } else {
      result += token === ":" ? ": " : token;
    }
  });
  return result;
}

/**
 * The same call for a shell.
 * @param {Call} call The call.
 * @returns {string} A `curl` command.
 */
export function curl(call) {
  const parts = ["curl", "-N"];
  if (call.verb !== "get" && !(call.verb === "post" && call.body)) parts.push("-X", call.verb.toUpperCase());
  for (const [name, value] of call.headers) parts.push("-H", quoted(`${name}: ${value}`));
  if (call.body instanceof FormData) {
    for (const [name, value] of call.body) {
      if (value instanceof File) parts.push("-F", quoted(`${name}=@${value.name}`));
      else parts.push("--form-string", quoted(`${name}=${value}`));
    }
  } else if (call.body) {
    parts.push("--data-binary", quoted(call.body));
  }
  return [...parts, quoted(call.url.href)].join(" ");
}

/**
 * @param {string} text Anything.
 * @returns {string} One word of a POSIX shell.
 */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
