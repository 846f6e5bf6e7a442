/**
 * Pressed buttons whose spinner turns until the bot answers the press.
 *
 * The answer may come before the server said which press it was, so the newest answers
 * are remembered for a while.
 */

import { act } from "./server.js";
import { changed, chatOf } from "./state.js";

const PATIENCE_MS = 30_000;
/** How long a spinner turns at most; then the app gives up, as Telegram's do. */
const REMEMBERED = 200;

/** Presses by the id of their callback query. */
const open = new Map();
const answered = new Set();

/** Press a button. @param {string} place Where the button is: `message/row/column`. */
export async function press(userId, chatId, messageId, data, place) {
  const chat = chatOf(chatId);
  const until = Date.now() + PATIENCE_MS;
  chat.pressed.set(place, until);
  changed("chats");
  const body = { user: userId, chat: chatId, message_id: messageId, data };
  const result = await act("press", body);
  const id = result?.callback_query_id;
  if (!result || answered.delete(id)) {
    end({ chat, place, until });
    return;
  }
  open.set(id, { chat, place, until });
  setTimeout(() => endPress({ callback_query_id: id }), PATIENCE_MS);
}

/** End the spinner of an answered press. */
export function endPress({ callback_query_id: id }) {
  if (open.has(id)) {
    end(open.get(id));
    open.delete(id);
    return;
  }
  answered.add(id);
  if (answered.size > REMEMBERED) answered.delete(answered.values().next().value);
}

/** Whether the spinner of a button turns. */
export function isPressed(chat, place) {
  return (chat.pressed.get(place) ?? 0) > Date.now();
}

/** Forget all: their chats are gone. */
export function forgetPresses() {
  open.clear();
  answered.clear();
}

/** End a spinner, unless the button was pressed again since. */
function end({ chat, place, until }) {
  if (chat.pressed.get(place) !== until) return;
  chat.pressed.delete(place);
  changed("chats");
}
