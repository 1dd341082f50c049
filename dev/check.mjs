// Runs everything that can be checked on this machine, and says at the end what ran, on which engine.
//
//   ENGINES=docker,local node dev/check.mjs
//
// A part that cannot run here is skipped with the reason; one that ENGINES names must run.

import { execFile, spawn } from "node:child_process";
import path from "node:path";
import { promisify, stripVTControlCharacters } from "node:util";

const run = promisify(execFile);
const mandatory = (process.env.ENGINES || "").split(",").filter(Boolean);
const docker = process.env.WRANGLER_DOCKER_BIN || "docker";
const report = [];
// An image from nothing takes ten minutes on two cores; wrangler was once seen to wait for Docker for ever.
const FIRST_START_MS = 25 * 60_000;

const cargo = (...args) => ["cargo", ...args];
const denied = ["--locked", "--", "-D", "warnings"];
await step("format", cargo("fmt", "--all", "--check"));
await step("lints, on this machine", cargo("clippy", "--workspace", "--all-targets", ...denied));
await step("lints, in the Worker", cargo(
  "clippy", "-p", "workers-sandbox", "-p", "sandbox-protocol", "--target", "wasm32-unknown-unknown", ...denied,
));
// Not in the workspace, so that each is what a Worker of somebody else is.
for (const example of ["build-worker", "services"]) {
  const manifest = ["--manifest-path", `examples/${example}/Cargo.toml`];
  await step(`format of ${example}`, cargo("fmt", ...manifest, "--check"));
  await step(`lints of ${example}`, cargo("clippy", ...manifest, "--target", "wasm32-unknown-unknown", ...denied), {
    CARGO_TARGET_DIR: "target",
  });
}
await step("documentation", cargo("doc", "--workspace", "--no-deps", "--document-private-items", "--locked"), {
  RUSTDOCFLAGS: "-D warnings",
});
// In the workspace a crate can borrow a feature that only another one asked for.
for (const crate of ["sandbox-protocol", "sandbox-supervisor"]) {
  await step(`${crate} alone`, cargo("check", "-p", crate, "--locked"));
}
// For the tests' own environments; Debian has it in python3-venv.
await step("python3 with venv", ["python3", "-c", "import ensurepip, venv"]);
await step("tests", cargo("test", "--workspace", "--locked", "--no-fail-fast"));
const dockerRefusal = await whyNoDocker();
const noRedis = await run("redis-server", ["--version"]).then(() => null, () => "redis-server is not installed");
for (const engine of ["docker", "local"]) {
  const refusal = engine === "docker" ? dockerRefusal : process.platform !== "linux" && "it needs Linux";
  const name = `end to end on ${engine}`;
  const whole = ["test", "--locked", "--test", "e2e", "--", "--include-ignored"];
  // On the local engine a sandbox has the machine's programs. Where the engine is mandatory, the tests themselves say
  // what is missing.
  if (engine === "local" && !refusal && noRedis && !mandatory.includes(engine)) {
    whole.push("--skip", "redis::");
    skip("services with Redis on local", noRedis, false);
  }
  if (refusal) skip(name, refusal, mandatory.includes(engine));
  else {
    // It makes hundreds of builds, and what it looks at is the same code on both: on the local engine alone.
    const apart = engine === "docker" ? ["--skip", "openapi::schemathesis"] : [];
    await step(name, cargo(...whole, ...apart), { E2E_ENGINE: engine });
  }
}
if (dockerRefusal) skip("deploy, dry", dockerRefusal, mandatory.includes("docker"));
else await step("deploy, dry", ["wrangler", "deploy", "--dry-run"], { WRANGLER_SEND_METRICS: "false" });
process.exit(summary());

/** Runs a command with its output passed on; a run of tests counts each test, anything else counts as one. */
async function step(name, [file, ...args], env = {}) {
  console.log(`\x1b[1m» ${name}\x1b[0m`);
  const started = Date.now();
  const counts = { passed: 0, failed: 0, ignored: 0 };
  const child = spawn(file, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const followed = [follow(child.stdout, process.stdout, counts), follow(child.stderr, process.stderr, counts)];
  const how = await new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(signal ?? (code === 0 ? null : `exit ${code}`)));
  });
  await Promise.all(followed);
  const isTests = counts.passed + counts.failed + counts.ignored > 0;
  if (!isTests && !how) counts.passed = 1;
  // Tests that did not compile, or a runner that broke off.
  if (how && counts.failed === 0) counts.failed = 1;
  report.push({ name, ...counts, skipped: counts.ignored, seconds: (Date.now() - started) / 1000, why: how });
}

function skip(name, why, required) {
  console.log(`\x1b[1m» ${name}: ${required ? "cannot run" : "skipped"}, ${why}\x1b[0m`);
  report.push({ name, passed: 0, failed: required ? 1 : 0, skipped: required ? 0 : 1, seconds: 0, why });
}

/** Passes a stream on and counts what cargo's test runners say in it. */
async function follow(stream, onward, counts) {
  let isEndToEnd = false;
  let rest = "";
  for await (const text of stream.setEncoding("utf8")) {
    onward.write(text);
    const lines = (rest + text).split("\n").map(stripVTControlCharacters);
    rest = lines.pop();
    for (const line of lines) {
      // What plain `cargo test` ignores of these is run, or skipped with a reason, by the steps that name an engine.
      if (/^running \d+ test/.test(line)) isEndToEnd = false;
      if (/^test .* \.\.\. ignored, starts wrangler dev/.test(line)) isEndToEnd = true;
      const result = /^test result: .*?(\d+) passed; (\d+) failed; (\d+) ignored/.exec(line);
      if (!result) continue;
      counts.passed += Number(result[1]);
      counts.failed += Number(result[2]);
      if (!isEndToEnd) counts.ignored += Number(result[3]);
    }
  }
}

/**
 * Why no sandbox can run on Docker here; nothing where one can, or where it is this project's fault that none can.
 * Only a start tells whether wrangler has or gets every image it wants.
 */
async function whyNoDocker() {
  const info = await run(docker, ["info"], { timeout: 10_000 }).then(() => null, (error) => error);
  if (info) return `no Docker engine answers (${lastLine(info.stderr) || info.message})`;
  console.log("\x1b[1m» a first start on Docker: makes the image\x1b[0m");
  const state = path.resolve(".wrangler/check");
  const server = spawn("node", ["dev/serve.mjs"], {
    env: { ...process.env, ENGINE: "docker", LIFELINE: "1", PORT: "0", STATE: state },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let output = "";
  for (const [from, to] of [[server.stdout, process.stdout], [server.stderr, process.stderr]]) {
    from.setEncoding("utf8").on("data", (text) => {
      to.write(text);
      output += text;
      if (output.includes("» serving")) server.stdin.end();
    });
  }
  const overdue = setTimeout(() => {
    console.log(`\x1b[1m» it did not serve within ${FIRST_START_MS / 60_000} minutes\x1b[0m`);
    server.kill("SIGTERM");
  }, FIRST_START_MS);
  await new Promise((resolve) => server.once("close", resolve));
  clearTimeout(overdue);
  const unreachable = output.split("\n").find((line) => /no such host|dial tcp|i\/o timeout|failed to resolve source/.test(line));
  return !output.includes("» serving") && unreachable && `no image registry answers (${unreachable.trim()})`;
}

function lastLine(text) {
  return text?.trim().split("\n").at(-1);
}

/** Prints what ran; gives the exit code. */
function summary() {
  const total = { passed: 0, failed: 0, skipped: 0 };
  console.log("\n\x1b[1mWhat ran\x1b[0m");
  for (const { name, passed, failed, skipped, seconds, why } of report) {
    const verdict = failed ? "FAILED" : passed ? "passed" : "skipped";
    const counts = `${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`;
    console.log(`  ${verdict.padEnd(8)}${name.padEnd(26)}${counts}, ${seconds.toFixed(0)} s${why ? `: ${why}` : ""}`);
    total.passed += passed;
    total.failed += failed;
    total.skipped += skipped;
  }
  console.log(`\n${total.passed} passed, ${total.failed} failed${total.skipped ? `, ${total.skipped} skipped` : ""}`);
  return total.failed ? 1 : 0;
}
