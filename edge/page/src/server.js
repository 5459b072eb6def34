// The edge server's two answers that this page needs. A token lives in this module's memory, nowhere else.

let token = "";

/** Use a bearer token from now on. */
export function useToken(text) {
  token = text.trim();
}

/** What the server said in the place of an answer; `status` is 0 where there was none. */
export class ServerError extends Error {
  constructor(message, { status = 0, retryAfter = null } = {}) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter; // seconds
  }
}

/** The model: its modalities in order, threshold, warnings. */
export function readModel() {
  return request("v2/models/etscnet");
}

/**
 * Score one study.
 * @param {Map<string, File>} files form field -> file: each modality, and "<modality>_mask" where there is one
 * @param {AbortSignal} signal
 */
export function scoreStudy(files, signal) {
  const body = new FormData();
  for (const [field, file] of files) body.append(field, file, file.name);
  return request("v1/studies", { method: "POST", body, signal });
}

async function request(path, options = {}) {
  let response, text;
  try {
    const headers = { Accept: "application/json" };
    if (token) headers.Authorization = `Bearer ${token}`;
    // relative to the page: it also works behind a proxy that serves it under a path
    response = await fetch(new URL(path, document.baseURI), { ...options, headers, cache: "no-store" });
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const orFile = options.body ? ", or a file was changed on disk since it was chosen: choose it again" : "";
    throw new ServerError(`The server can't be reached${orFile}. Try again.`);
  }
  const answer = parsed(text);
  if (response.ok && answer) return answer;
  const said = answer?.error ?? `The server answered ${response.status} ${response.statusText}`.trim();
  const wait = parseInt(response.headers.get("Retry-After"), 10);
  throw new ServerError(String(said), { status: response.status, retryAfter: Number.isFinite(wait) ? wait : null });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // a proxy's HTML, or a connection that broke off
  }
}
