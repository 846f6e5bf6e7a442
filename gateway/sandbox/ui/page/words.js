/** How times, amounts and outcomes are said. */

/** The time of day of a moment, with milliseconds. @param {number} seconds epoch */
export function clockTime(seconds) {
  const moment = new Date(seconds * 1000);
  const part = (value, digits = 2) => String(value).padStart(digits, "0");
  const [hours, minutes] = [moment.getHours(), moment.getMinutes()].map((each) => part(each));
  return `${hours}:${minutes}:${part(moment.getSeconds())}.${part(moment.getMilliseconds(), 3)}`;
}

/** Hours and minutes, as under a message. @param {number} seconds epoch */
export function minuteTime(seconds) {
  return clockTime(seconds).slice(0, 5);
}

/** A length of time with its unit. @param {number} seconds */
export function duration(seconds) {
  const milliseconds = seconds * 1000;
  if (milliseconds < 1) return `${milliseconds.toFixed(2)} ms`;
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 1000) return `${milliseconds.toFixed(0)} ms`;
  return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
}

/** The size of a file. @param {number} bytes */
export function fileSize(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** A number with its thousands apart. */
export function amount(number) {
  return number.toLocaleString("en");
}

/** A number and a noun. */
export function counted(number, noun) {
  return `${amount(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** Names with underscores as words. */
export function spaced(name) {
  return name.replaceAll("_", " ");
}

const WARNINGS = new Set([
  "stopped", "limited", "duplicate", "expired", "from_bot", "unrouted", "unknown", "refused", "blocked",
  "dropped",
]);

/**
 * What became of an update: a word, and the tone of its colour.
 *
 * @param {{outcome: string, state: string, status: number, losses: number}} row
 * @returns {{word: string, tone: "good"|"warn"|"bad"|"busy"}}
 */
export function verdict({ outcome, state, status, losses }) {
  if (outcome === "done" && losses) return { word: "incomplete", tone: "warn" };
  if (outcome === "done") return { word: "done", tone: "good" };
  if (outcome) return { word: spaced(outcome), tone: WARNINGS.has(outcome) ? "warn" : "bad" };
  if (state === "failing") return { word: status ? `failing ${status}` : "failing", tone: "bad" };
  return { word: spaced(state), tone: state === "dropped" ? "warn" : "busy" };
}

const MEANINGS = {
  stopped: "The user stopped the answer: what was shown stays.",
  limited: "Over the user's rate limit: no service was asked. The user is told once per window.",
  duplicate: "Handled before under the same update id.",
  expired: "It waited longer than an answer is of use.",
  from_bot: "A bot said it: dropped, because ALLOW_BOTS is off.",
  unrouted: "No route serves this kind of update.",
  unknown: "No route serves this command or button: the user got a hint.",
  service_timeout: "The service did not answer in time: the user got an apology.",
  service_unavailable: "The service could not be reached: the user got an apology.",
  service_failed: "The service failed: the user got an apology.",
  blocked: "The service answered, but the user cannot be reached.",
  send_failed: "The service answered, but the Bot API did not take the reply.",
  crashed: "A fault of the gateway's own: it is in the dead letters.",
  poison: "Every worker that took it ended: it is in the dead letters.",
  refused: "The mailbox was full.",
};

/** What an outcome means, in a sentence. Empty: nothing needs to be said. */
export function meaning(outcome) {
  return MEANINGS[outcome] ?? "";
}

/** The full name of a user. */
export function fullName(user) {
  return [user.first_name, user.last_name].filter(Boolean).join(" ");
}
