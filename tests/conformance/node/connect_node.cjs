// Calls a server of `shapes` by @connectrpc/connect-node, a gRPC of its own, with generated code.
//
//     node connect_node.cjs HOST:PORT
//
// Writes a JSON object: what each call gave.
"use strict";

const { Code, ConnectError, createClient } = require("@connectrpc/connect");
const { compressionGzip, createGrpcTransport, createGrpcWebTransport } =
  require("@connectrpc/connect-node");
const { ShapesService } = require("caikit_runtime_Shapes_pb.js");

const [address] = process.argv.slice(2);
const baseUrl = `http://${address}`;
const client = createClient(ShapesService, createGrpcTransport({ baseUrl }));
const packed = createClient(
  ShapesService,
  createGrpcTransport({
    baseUrl,
    sendCompression: compressionGzip,
    acceptCompression: [compressionGzip],
    compressMinBytes: 0,
  }),
);
const web = createClient(ShapesService, createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }));

const headers = { "mm-model-id": "plain" };
const plain = (word) => ({ text: word.text, number: Number(word.number) });
const attempted = async (call) => {
  try {
    return await call();
  } catch (error) {
    return Code[ConnectError.from(error).code];
  }
};
async function* sent(texts) {
  for (const text of texts) yield { texts: text };
}
async function collected(stream) {
  const words = [];
  try {
    for await (const word of stream) words.push(plain(word));
  } catch (error) {
    return { words, code: Code[ConnectError.from(error).code] };
  }
  return words;
}

const calls = {
  unary: async () => plain(await client.talkTaskPredict({ text: "hello" }, { headers })),
  "server stream": () =>
    collected(client.serverStreamingTalkTaskPredict({ text: "w", count: 2n }, { headers })),
  "client stream": async () =>
    plain(await client.clientStreamingTalkTaskPredict(sent(["a", "b"]), { headers })),
  bidirectional: () =>
    collected(client.bidiStreamingTalkTaskPredict(sent(["a", "b"]), { headers })),
  "unknown model": () =>
    client.talkTaskPredict({ text: "x" }, { headers: { "mm-model-id": "nobody" } }),
  "failure in a stream": () =>
    collected(
      client.serverStreamingTalkTaskPredict({ text: "w", count: 3n, failAt: 1n }, { headers })),
  deadline: () => client.talkTaskPredict({ text: "x", pause: 20 }, { headers, timeoutMs: 200 }),
  cancellation: () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 200);
    return client.talkTaskPredict({ text: "x", pause: 20 }, { headers, signal: stop.signal });
  },
  compression: async () => plain(await packed.talkTaskPredict({ text: "z" }, { headers })),
  "gRPC-Web": async () => plain(await web.talkTaskPredict({ text: "hello" }, { headers })),
  "gRPC-Web, server stream": () =>
    collected(web.serverStreamingTalkTaskPredict({ text: "w", count: 2n }, { headers })),
  "gRPC-Web, unknown model": () =>
    web.talkTaskPredict({ text: "x" }, { headers: { "mm-model-id": "nobody" } }),
};

(async () => {
  const found = {};
  for (const [name, call] of Object.entries(calls)) found[name] = await attempted(call);
  process.stdout.write(JSON.stringify(found), () => process.exit(0));
})();
