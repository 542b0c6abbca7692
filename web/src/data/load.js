// Where the data come from: inside of the page, packed or not, or from `ztxexp ui`.

/** Return the payload that the page carries; `null` for a live page. */
export async function embedded() {
  const plain = document.getElementById("data");
  if (plain) return JSON.parse(plain.textContent);
  const packed = document.getElementById("data-gz");
  if (!packed) return null;
  const text = atob(packed.textContent.trim());
  const raw = new Uint8Array(text.length);
  for (let at = 0; at < raw.length; at += 1) raw[at] = text.charCodeAt(at);
  const unpacked = new Blob([raw]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(unpacked).text());
}

/** Return what the server answers to a GET.
 *
 * @throws {Error} it answers with an error; the message is its own.
 */
export async function get(address) {
  const answer = await fetch(address, { credentials: "same-origin", cache: "no-cache" });
  return told(answer);
}

/** Ask the server to do something, and return its answer. */
export async function post(address, content) {
  const answer = await fetch(address, {
    method: "POST",
    credentials: "same-origin",
    headers: { "Content-Type": "application/json", "X-Ztxexp": "1" },
    body: JSON.stringify(content),
  });
  return told(answer);
}

async function told(answer) {
  let content = null;
  try {
    content = await answer.json();
  } catch {
    content = null;
  }
  if (!answer.ok) throw new Error(content?.error ?? `the server answers ${answer.status}`);
  return content;
}
