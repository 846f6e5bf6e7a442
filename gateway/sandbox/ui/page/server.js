/** Asking the sandbox to do something, and for what is not in the stream. */

import { state } from "./state.js";
import { showProblem } from "./toast.js";

/** Get JSON. @throws {Error} with one line for a person */
export function get(path) {
  return ask(path, {});
}

/**
 * Do something as a user, with the bot that is shown, or to the Bot API. A problem is shown
 * to the person.
 *
 * @param {string} name The last part of /do/...
 * @param {object} body
 * @returns {Promise<object|null>} null: it did not work.
 */
export async function act(name, body) {
  const headers = { "Content-Type": "application/json" };
  const whole = state.bots.size > 1 ? { bot: state.botId, ...body } : body;
  try {
    return await ask(`/do/${name}`, { method: "POST", headers, body: JSON.stringify(whole) });
  } catch (problem) {
    showProblem(problem.message);
    return null;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The program of this page does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new Error(answer.error ?? `The answer was ${response.status}.`);
}
