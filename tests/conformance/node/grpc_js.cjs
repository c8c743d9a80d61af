// Calls a server of `shapes` by @grpc/grpc-js, whose stubs are made of the .proto files as it runs.
//
//     node grpc_js.cjs HOST:PORT FOLDER_OF_PROTOS
//
// Writes a JSON object: what each call gave.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, folder] = process.argv.slice(2);
const files = fs.readdirSync(folder).map((name) => path.join(folder, name));
const definition = loader.loadSync(files, {
  includeDirs: [folder],
  keepCase: true,
  longs: Number,
  defaults: true,
  oneofs: true,
});
const { ShapesService } = grpc.loadPackageDefinition(definition).caikit.runtime.Shapes;
const open = (options) =>
  new ShapesService(address, grpc.credentials.createInsecure(), options);
const client = open({});

const metadata = (model = "plain", more = {}) => {
  const found = new grpc.Metadata();
  found.set("mm-model-id", model);
  for (const [key, value] of Object.entries(more)) found.set(key, value);
  return found;
};
const within = (milliseconds) => ({ deadline: Date.now() + milliseconds });
const failure = (error) => ({ code: grpc.status[error.code], details: error.details !== "" });

const unary = (method, request, head = metadata(), options = {}, by = client) =>
  new Promise((resolve) => {
    by[method](request, head, options, (error, answer) =>
      resolve(error ? failure(error) : answer));
  });
const collected = (call, each = () => {}) =>
  new Promise((resolve) => {
    const words = [];
    call.on("data", (word) => {
      words.push(word);
      each(word, words);
    });
    call.on("error", (error) => resolve({ words, ...failure(error) }));
    call.on("end", () => resolve(words));
  });
const gathered = (texts, head = metadata()) =>
  new Promise((resolve) => {
    const call = client.ClientStreamingTalkTaskPredict(head, (error, answer) =>
      resolve(error ? failure(error) : answer));
    for (const text of texts) call.write(text);
    call.end();
  });
// One message goes out when the answer to the one before has come in.
const talked = (texts, head = metadata()) => {
  const call = client.BidiStreamingTalkTaskPredict(head);
  const next = () => (texts.length ? call.write({ texts: texts.shift() }) : call.end());
  next();
  return collected(call, next);
};
const many = (request, head = metadata(), options = {}) =>
  client.ServerStreamingTalkTaskPredict({ text: "w", ...request }, head, options);

const calls = {
  unary: () => unary("TalkTaskPredict", { text: "hello" }),
  "unary, asynchronous": () => unary("TalkTaskPredict", { text: "a" }, metadata("asynchronous")),
  "server stream": () => collected(many({ count: 3 })),
  "server stream, asynchronous": () => collected(many({ count: 2 }, metadata("asynchronous"))),
  "client stream": () => gathered([{ texts: "a", separator: "-" }, { texts: "b" }]),
  "client stream, asynchronous": () => gathered([{ texts: "a" }], metadata("asynchronous")),
  bidirectional: () => talked(["a", "b", "c"]),
  "bidirectional, asynchronous": () => talked(["a", "b"], metadata("asynchronous")),
  "unknown model": () => unary("TalkTaskPredict", { text: "x" }, metadata("nobody")),
  "no model": () => unary("TalkTaskPredict", { text: "x" }, new grpc.Metadata()),
  "failure in a stream": () => collected(many({ count: 3, fail_at: 1 })),
  deadline: () => unary("TalkTaskPredict", { text: "x", pause: 20 }, metadata(), within(200)),
  "deadline in a stream": () =>
    collected(many({ count: 1000, pause: 0.05 }, metadata(), within(5000))).then((found) => ({
      code: found.code,
      some: found.words.length > 0,
    })),
  cancellation: () => {
    const call = many({ count: 1000, pause: 0.01 });
    return collected(call, (word, words) => words.length === 2 && call.cancel()).then((found) => ({
      code: found.code,
      words: found.words.length,
    }));
  },
  metadata: () =>
    unary("ContextTaskPredict", { text: "x-colour" }, metadata("plain", { "x-colour": "blue" })),
  "binary metadata": () =>
    unary(
      "ContextTaskPredict",
      { text: "x-seal-bin" },
      metadata("plain", { "x-seal-bin": Buffer.from([0, 1, 254, 255]) }),
    ),
  compression: async () => {
    const packed = open({ "grpc.default_compression_algorithm": 2 });
    const answer = await unary("TalkTaskPredict", { text: "z".repeat(5000) }, metadata(), {}, packed);
    packed.close();
    return { length: answer.text.length };
  },
  "too large": () => unary("TalkTaskPredict", { text: "z".repeat(2 ** 21) }),
  "unknown method": () =>
    new Promise((resolve) => {
      client.makeUnaryRequest("/caikit.runtime.Shapes.ShapesService/Nope", (x) => x, (x) => x,
        Buffer.alloc(0), metadata(), {}, (error) => resolve(failure(error)));
    }),
  "many at a time": async () => {
    const numbers = [...Array(50).keys()];
    const answers = await Promise.all(
      numbers.map((number) => unary("TalkTaskPredict", { text: `t${number}` })));
    return answers.every((answer, number) => answer.text === `t${number}`);
  },
};

(async () => {
  const found = {};
  for (const [name, call] of Object.entries(calls)) found[name] = await call();
  client.close();
  process.stdout.write(JSON.stringify(found));
})();
