// Calls to the API of the Worker that serves this page.

const KEY = "sandbox-api-key";

/** A refusal: the sentence, the code and the suggestion of the answer. */
export class ApiError extends Error {
  constructor(status, { error, code, suggestion }) {
    super(error);
    this.status = status;
    this.code = code;
    this.suggestion = suggestion;
  }

  /** Whether a key, or another one, is what is missing. */
  get wantsKey() {
    return this.code === "UNAUTHORIZED";
  }
}

/** Keeps the key for as long as this tab is open. */
export function setKey(key) {
  sessionStorage.setItem(KEY, key);
}

/** Whether there is a key. */
export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/** The path of something of a sandbox. */
export function pathOf(sandbox, rest = "") {
  return `/v1/sandbox/${encodeURIComponent(sandbox)}${rest}`;
}

/** Sends a request and gives the answer, whose body is still to come. Throws an `ApiError` if it is refused. */
export async function call(method, path, { json, headers = {}, signal } = {}) {
  const key = sessionStorage.getItem(KEY);
  const answer = await fetch(path, {
    method,
    signal,
    cache: "no-store",
    body: json && JSON.stringify(json),
    headers: {
      ...headers,
      ...(json && { "Content-Type": "application/json" }),
      ...(key && { Authorization: `Bearer ${key}` }),
    },
  });
  if (answer.ok) return answer;
  const text = await answer.text();
  throw new ApiError(answer.status, refusal(text) ?? { error: `The Worker answered ${answer.status}` });
}

/** Sends a request and gives the JSON of its answer. */
export async function ask(method, path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  const answer = await call(method, path, { ...options, headers });
  return answer.json();
}

/** What the API says of a refusal; nothing where something else answered. */
function refusal(text) {
  try {
    const body = JSON.parse(text);
    return typeof body.error === "string" ? body : null;
  } catch {
    return null;
  }
}
