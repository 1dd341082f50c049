// Streams of events that go on after a cut, everything once.

import { EventSourceParserStream } from "../vendor/eventsource-parser/stream.js";
import { ApiError, call } from "./api.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;

/**
 * The events of a stream up to the one of type `end`. `start` gives the first answer (without it, `path()` does);
 * after a cut the stream is asked for at `path()` with the last id, and `onCut` and `onResume` tell of it. Throws
 * what the API refuses. Aborting `signal` ends it.
 */
export async function* follow({ start, path, end, signal, onCut, onResume }) {
  let lastId;
  let wait = FIRST_WAIT_MS;
  // A request that starts something is never sent again.
  let answer = start ? await start() : null;
  for (;;) {
    try {
      answer ??= await call("GET", path(), { headers: asking(lastId), signal });
      if (answer.status === 204) return;
      onResume();
      for await (const { id, data } of messages(answer.body)) {
        lastId = id ?? lastId;
        wait = FIRST_WAIT_MS;
        const event = JSON.parse(data);
        yield event;
        if (event.type === end) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status < 500) throw error;
    }
    if (signal.aborted) return;
    answer = null;
    onCut();
    await pause(wait, signal);
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
}

function asking(lastId) {
  return { Accept: "text/event-stream", ...(lastId && { "Last-Event-ID": lastId }) };
}

async function* messages(body) {
  const parsed = body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  const reader = parsed.getReader();
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
  } finally {
    // Whoever reads no more hangs up. A stream that broke has nobody to hang up on.
    reader.cancel().catch(() => {});
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => resolve(clearTimeout(timer)), { once: true });
  });
}
