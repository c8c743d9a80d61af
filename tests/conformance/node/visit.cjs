// Runs a script with a page of a running browser; in and out come JSON objects. See browser.py.
"use strict";

const { chromium } = require("playwright-core");

const told = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const AsyncFunction = (async () => {}).constructor;

(async () => {
  const browser = await chromium.connect(told.endpoint);
  const context = await browser.newContext();
  const page = await context.newPage();
  const errors = [];
  const requests = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("request", (request) => requests.push(request.url()));
  const value = await new AsyncFunction("page", "args", told.script)(page, told.args);
  await context.close();
  await browser.close();
  process.stdout.write(JSON.stringify({ value: value ?? null, errors, requests }));
})();
