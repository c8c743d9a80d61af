// Starts a Chromium without a window, writes where to reach it, and ends it with its own input.
//
//     node browser.cjs PROGRAM PROFILE_FOLDER
"use strict";

const { chromium } = require("playwright-core");

const [program, profile] = process.argv.slice(2);

(async () => {
  const server = await chromium.launchServer({
    executablePath: program,
    // It is to talk to nobody but the pages that it is shown.
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--disk-cache-dir=${profile}`,
    ],
  });
  process.stdout.write(`${server.wsEndpoint()}\n`);
  process.stdin.resume();
  process.stdin.on("end", async () => {
    await server.close();
    process.exit(0);
  });
})();
