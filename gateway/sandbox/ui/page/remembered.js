/**
 * What outlives a reload of the page in this tab: the chats shown, the part shown, and
 * the texts that were begun. A tab that is closed forgets it.
 */

const KEY = "sandbox";

/** @type {{panes?: number[], view?: string, texts?: Record<string, string>}} */
const kept = read();

/** Return what was remembered under a name; undefined: nothing was. */
export function recall(name) {
  return kept[name];
}

/** Remember a value that JSON can hold. */
export function remember(name, value) {
  kept[name] = value;
  try {
    sessionStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    // Storage may be full or switched off: the page works, and forgets.
  }
}

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}
