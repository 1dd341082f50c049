// Ends process groups, and what has left them, with a limit on every wait.

import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as after } from "node:timers/promises";

/** How a child ended, once it has: `exit 1`, `SIGKILL`, or why it could not start. Never rejects. */
export function endOf(child) {
  return new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(signal ?? `exit ${code}`));
  });
}

/** Asks a child to end, waits, and kills what is left of its group. */
export async function signalGroup(child, limitMs) {
  if (child.pid === undefined) return;
  if (child.exitCode === null && child.signalCode === null) {
    child.kill("SIGTERM");
    await Promise.race([child.ended, after(limitMs, undefined, { ref: false })]);
  }
  kill(-child.pid, "SIGKILL");
}

/** Waits until no process has `marker` in its environment any more, and kills those that stay. Linux only. */
export async function sweep(marker, limitMs) {
  const deadline = Date.now() + limitMs;
  for (let left = marked(marker); left.length > 0; left = marked(marker)) {
    if (Date.now() > deadline) left.forEach((pid) => kill(pid, "SIGKILL"));
    // A process that is no child of ours sends no event when it ends.
    await after(50);
  }
}

function marked(marker) {
  const pids = process.platform === "linux" ? readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)) : [];
  return pids.map(Number).filter((pid) => pid !== process.pid && environmentOf(pid).includes(marker));
}

/** Empty for a process that is gone, a zombie, or another user's. */
function environmentOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  } catch {
    return [];
  }
}

function kill(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}
