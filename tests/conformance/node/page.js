// What a page does that calls a server of `shapes` from another origin: gRPC-Web by two clients of
// different makes, REST, and server-sent events. `calls` is there for the test to choose from.
const { Code, ConnectError, createClient } = require("@connectrpc/connect");
const { createGrpcWebTransport } = require("@connectrpc/connect-web");
const { fromBinary, toBinary, create } = require("@bufbuild/protobuf");
const { GrpcWebClientBase, MethodDescriptor, MethodType } = require("grpc-web");
const messages = require("caikit_runtime_Shapes_pb.js");
const { WordSchema } = require("shapes_pb.js");

const headers = { "mm-model-id": "plain" };
const plain = (word) => ({ text: word.text, number: Number(word.number) });
const connected = (baseUrl) =>
  createClient(messages.ShapesService, createGrpcWebTransport({ baseUrl }));
const described = (name, type, request) =>
  new MethodDescriptor(
    `/caikit.runtime.Shapes.ShapesService/${name}`,
    type,
    Object,
    Object,
    (fields) => toBinary(request, create(request, fields)),
    (bytes) => plain(fromBinary(WordSchema, bytes)),
  );
const TALK = described("TalkTaskPredict", MethodType.UNARY, messages.TalkTaskRequestSchema);
const STREAM = described(
  "ServerStreamingTalkTaskPredict",
  MethodType.SERVER_STREAMING,
  messages.ServerStreamingTalkTaskRequestSchema,
);
const asked = (url, path, body) =>
  fetch(`${url}/api/v1/task/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model_id: "plain", ...body }),
  });
async function attempted(call) {
  try {
    return await call();
  } catch (error) {
    return Code[ConnectError.from(error).code];
  }
}

// By Google's own client: `text` is base64, which alone it can stream.
const unary = (format) => (url) =>
  new Promise((resolve) => {
    const client = new GrpcWebClientBase({ format });
    const { path = TALK.getName() } = {};
    client.rpcCall(url + path, { text: "hello" }, headers, TALK, (error, word) =>
      resolve(error ? { code: error.code } : word));
  });
const stream = (failAt) => (url) =>
  new Promise((resolve) => {
    const words = [];
    const call = new GrpcWebClientBase({ format: "text" }).serverStreaming(
      url + STREAM.getName(),
      { text: "w", count: 3n, failAt },
      headers,
      STREAM,
    );
    call.on("data", (word) => words.push(word));
    call.on("error", (error) => resolve({ words, code: error.code }));
    call.on("end", () => resolve(words));
  });

window.calls = {
  "connect, unary": async (url) => plain(await connected(url).talkTaskPredict({ text: "hello" }, { headers })),
  "connect, server stream": async (url) => {
    const words = [];
    const request = { text: "w", count: 3n, pause: 0.05 };
    for await (const word of connected(url).serverStreamingTalkTaskPredict(request, { headers }))
      words.push(plain(word));
    return words;
  },
  "connect, unknown model": (url) =>
    attempted(() =>
      connected(url).talkTaskPredict({ text: "x" }, { headers: { "mm-model-id": "nobody" } })),
  "connect, cancelled": (url) => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 200);
    const request = { text: "x", pause: 20 };
    return attempted(() => connected(url).talkTaskPredict(request, { headers, signal: stop.signal }));
  },
  "connect, deadline": (url) =>
    attempted(() =>
      connected(url).talkTaskPredict({ text: "x", pause: 20 }, { headers, timeoutMs: 200 })),
  "grpc-web, text": unary("text"),
  "grpc-web, binary": unary("binary"),
  "grpc-web, server stream": stream(undefined),
  "grpc-web, failure in a stream": stream(1n),
  "REST": async (url) => (await asked(url, "talk", { inputs: "hello" })).json(),
  "REST, an error": async (url) => {
    const answer = await asked(url, "talk", { inputs: 5 });
    return [answer.status, (await answer.json()).code];
  },
  // Events are taken as they come: `apart` says that they did not come all at once.
  "server-sent events": async (url) => {
    const answer = await asked(url, "server-streaming-talk", {
      inputs: "w",
      parameters: { count: 3, pause: 2 },
    });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const parts = [];
    for (let part = await reader.read(); !part.done; part = await reader.read())
      parts.push(part.value);
    const events = parts.join("").split("\r\n\r\n").filter((event) => event);
    return {
      type: answer.headers.get("content-type"),
      events: events.map((event) => event.split("\r\n")),
      apart: parts.length > 1,
    };
  },
};
