// Serves the Worker on this machine until it is told to stop, and leaves nothing behind.
//
//   PORT=8787 ENGINE=docker|local node dev/serve.mjs
//
// What it starts, it starts in process groups of their own, so that a Ctrl-C reaches this program alone
// and the order of stopping is ours: wrangler, its containers, the local engine, stragglers.
// The end-to-end tests start it too: PORT=0 takes a free port, CONFIG= names another wrangler.toml,
// STATE= another folder, REGISTRY= one in which Workers find each other, RUN= the Worker's name, VARS= more variables
// (NAME:value, one a line), and with LIFELINE=1 the end of stdin is an order to stop.

import { execFile, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { promisify, stripVTControlCharacters } from "node:util";
import { endOf, signalGroup, sweep } from "./group.mjs";

const run = promisify(execFile);
const root = path.resolve(import.meta.dirname, "..");
const port = process.env.PORT || "8787";
const state = path.resolve(process.env.STATE || path.join(root, ".wrangler", `dev-${port}`));
const docker = process.env.WRANGLER_DOCKER_BIN || "docker";
// The name is part of the name of every container, which is how ours are told from another session's.
// It belongs to the state: with another name the objects of the last run would not be found.
const name = process.env.RUN || `workers-sandbox-${createHash("sha256").update(state).digest("hex").slice(0, 8)}`;
// Everything that is started carries this in its environment, however far it wanders.
const marker = `SANDBOX_DEV_RUN=${name}-${randomBytes(4).toString("hex")}`;

const children = [];
let stopping = null;

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => stop(0));
if (process.env.LIFELINE) process.stdin.on("end", () => stop(0)).resume();

try {
  await refuseTakenPort();
  mkdirSync(state, { recursive: true });
  const engine = await pickEngine();
  if (engine === "docker") await serveOnDocker();
  else await serve(engine, await startLocalEngine());
} catch (error) {
  // A stop that cut the start short is no failure of the start.
  if (!stopping) {
    console.error(`\x1b[1;31m» ${error.message}\x1b[0m`);
    stop(1);
  }
}

/** Another session on this port also has this state: what we clean up would be its. */
async function refuseTakenPort() {
  const probe = createServer().listen(Number(port), "127.0.0.1");
  await once(probe, "listening").catch((error) => {
    // Nothing was started, and nothing may be cleaned up.
    console.error(`\x1b[1;31m» port ${port} is not free (${error.code}): set PORT to another\x1b[0m`);
    process.exit(1);
  });
  await new Promise((resolve) => probe.close(resolve));
}

/** `docker` where a Docker engine answers, else `local`; ENGINE overrides, and must then be possible. */
async function pickEngine() {
  const wanted = process.env.ENGINE || "";
  if (!["", "docker", "local"].includes(wanted)) throw new Error(`ENGINE is docker or local, not ${wanted}`);
  if (wanted === "local") return wanted;
  const refusal = await run(docker, ["info"], { timeout: 10_000 }).then(() => null, (error) => error);
  if (!refusal) return "docker";
  if (wanted) throw new Error(`no Docker engine answers: ${lastLine(refusal.stderr) || refusal.message}`);
  if (process.platform !== "linux") throw new Error("no Docker engine answers, and the local engine needs Linux");
  return "local";
}

/** An engine that answers may still lack the images; then the local engine serves, unless Docker was asked for. */
async function serveOnDocker() {
  try {
    await serve("docker", ["--var", "SANDBOX_DOCKER:true"]);
  } catch (error) {
    if (stopping || process.env.ENGINE || process.platform !== "linux") throw error;
    console.error("\x1b[1m» Docker answers but could not make or fetch the images: on to the local engine\x1b[0m");
    await serve("local", await startLocalEngine());
  }
}

/** Builds the supervisor for this machine and starts it as an engine; gives the flags that tell wrangler of it. */
async function startLocalEngine() {
  await ended(start("make", ["--no-print-directory", "supervisor"], { stdio: "inherit" }));
  const secret = randomBytes(32).toString("hex");
  const engine = start(
    path.join(root, "target/supervisor/sandbox-supervisor"),
    ["engine", "--listen", "127.0.0.1:0", "--state", path.join(state, "sandboxes")],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  // By the pipe: neither the environment nor the command line of a process is a secret.
  engine.stdin.write(`${secret}\n`);
  const url = await lineOf(engine, /^engine listening on (http:\S+)/, "the local engine");
  vital(engine);
  return [
    "--enable-containers=false",
    "--var", `LOCAL_ENGINE_URL:${url}`,
    "--var", `LOCAL_ENGINE_SECRET:${secret}`,
  ];
}

async function serve(engine, flags) {
  const config = path.resolve(root, process.env.CONFIG || "wrangler.toml");
  const extra = (process.env.VARS || "").split("\n").filter(Boolean).flatMap((pair) => ["--var", pair]);
  const wrangler = start(
    process.execPath,
    [
      path.join(root, "node_modules/wrangler/bin/wrangler.js"), "dev",
      "--config", config,
      "--name", name, "--ip", "127.0.0.1", "--port", port, "--inspector-port", "0",
      "--persist-to", path.join(state, "objects"), "--show-interactive-dev-session=false",
      "--var", "SANDBOX_ANONYMOUS:true", ...flags, ...extra,
    ],
    // Where the commands in its wrangler.toml are at home.
    { cwd: path.dirname(config), stdio: ["ignore", "pipe", "inherit"] },
  );
  const url = await lineOf(wrangler, /Ready on (http:\S+)/, "wrangler");
  vital(wrangler);
  const home = url.replace("127.0.0.1", "localhost");
  const what = engine === "docker" ? "each in a Docker container" : "on the local engine: for development, no isolation";
  console.log(`
\x1b[1m» serving ${home} on ${engine}\x1b[0m (sandboxes run ${what})
  A first build:

  curl -N ${home}/v1/sandbox/demo/builds -H 'Content-Type: application/json' \\
    -d '{"command": "for i in 1 2 3; do echo step $i; sleep 1; done; echo Build complete", "until": {"log": "Build complete"}}'

  Ctrl-C stops it and everything it started.
`);
}

/** Starts a program in a process group of its own. */
function start(file, args, options) {
  const [key, value] = marker.split("=");
  const child = spawn(file, args, {
    cwd: root,
    detached: true,
    env: {
      ...process.env,
      [key]: value,
      // No question, no news and no state outside the project.
      CI: "1",
      CLOUDFLARE_CF_FETCH_ENABLED: "false",
      WRANGLER_HIDE_BANNER: "true",
      WRANGLER_LOG_PATH: path.join(state, "logs"),
      WRANGLER_REGISTRY_PATH: process.env.REGISTRY || path.join(state, "registry"),
      WRANGLER_SEND_ERROR_REPORTS: "false",
      WRANGLER_SEND_METRICS: "false",
    },
    ...options,
  });
  child.title = path.basename(args[0]?.endsWith(".js") ? args[0] : file);
  child.ended = endOf(child);
  children.push(child);
  return child;
}

/** If it ends before it is told to, everything ends. */
function vital(child) {
  child.ended.then((how) => {
    if (stopping) return;
    console.error(`\x1b[1;31m» ${child.title} ended: ${how}\x1b[0m`);
    stop(1);
  });
}

async function ended(child) {
  const how = await child.ended;
  if (how !== "exit 0") throw new Error(`${child.title}: ${how}`);
}

/** Passes a child's output on, and resolves with what `pattern` captured in the first line that has it. */
function lineOf(child, pattern, who) {
  return new Promise((resolve, reject) => {
    let rest = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      process.stdout.write(text);
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      const found = lines.map((line) => pattern.exec(stripVTControlCharacters(line))).find(Boolean);
      if (found) resolve(found[1]);
    });
    child.ended.then((how) => reject(new Error(`${who} did not start: ${how}`)));
  });
}

/** Stops everything once, in order, each step with a limit; then this program ends. */
function stop(code) {
  stopping ??= (async () => {
    // Wrangler first: nothing may start a container or a sandbox after this.
    for (const child of children.toReversed()) await signalGroup(child, 10_000);
    await removeContainers();
    await sweep(marker, 5_000);
    process.exit(code);
  })().catch((error) => {
    console.error(`\x1b[1;31m» stopping: ${error.message}\x1b[0m`);
    process.exit(1);
  });
}

/** The containers of this Worker's objects and their networking sidecars, whatever state they are in. */
async function removeContainers() {
  const list = await run(docker, ["ps", "-aq", "--filter", `name=-${name}-Sandbox-`]).catch(() => null);
  const ids = list?.stdout.split("\n").filter(Boolean) ?? [];
  // Another clean-up (miniflare's) may have got there first: gone is what was asked for.
  if (ids.length) await run(docker, ["rm", "-f", ...ids]).catch(() => {});
}

function lastLine(text) {
  return text?.trim().split("\n").at(-1);
}
