/** One message: its text, what it carries, and the buttons under it. */

import { keyClass, quote } from "./asked.js";
import { attachment } from "./attachments.js";
import { element } from "./dom.js";
import { formatted } from "./entities.js";
import { show } from "./people.js";
import { isPressed, press } from "./presses.js";
import { act } from "./server.js";
import { state } from "./state.js";
import { minuteTime } from "./words.js";

/**
 * Draw a message.
 *
 * @param {object} message Telegram's Message object.
 * @param {import("./state.js").Chat} chat Where it stands.
 * @param {number} userId Whose chat it is.
 * @returns {HTMLElement}
 */
export function messageNode(message, chat, userId) {
  const own = !message.from?.is_bot;
  const text = message.text ?? message.caption ?? "";
  const entities = message.entities ?? message.caption_entities;
  const links = {
    command: (words) => act("say", { user: userId, text: words }),
    mention: (name) => chatOpener(name, userId),
  };
  const words = text && element("div", { class: "text" }, ...formatted(text, entities, links));
  const time = element(
    "span",
    { class: "when" },
    message.edit_date ? "edited " : "",
    minuteTime(message.edit_date ?? message.date),
  );
  const who = own ? (message.from?.first_name ?? "The user") : "The bot";
  return element(
    "div",
    { class: `message ${own ? "own" : "bot"}`, "data-id": message.message_id },
    element(
      "div",
      { class: message.sticker ? "bare" : "bubble" },
      element("span", { class: "unseen" }, `${who}: `),
      message.reply_to_message ? quote(message.reply_to_message) : null,
      attachment(message),
      words || null,
      time,
    ),
    keyboard(message, chat, userId),
  );
}

/** What opens the chat of a user of the sandbox, in the pane of the chat that names them. */
function chatOpener(username, readerId) {
  const isNamed = (each) => each.username?.toLowerCase() === username.toLowerCase();
  const named = [...state.users.values()].find(isNamed);
  return named ? () => show(Math.max(state.panes.indexOf(readerId), 0), named.id, true) : null;
}

/** Stand in for a message that is not as Telegram's are. */
export function oddNode(message) {
  return element(
    "div",
    { class: "message bot", "data-id": message.message_id },
    element("p", { class: "note" }, "A message that this page cannot show"),
  );
}

/**
 * What the bot is writing right now, before it is a message.
 *
 * @param {number} stopId What a stop refers to. 0: it cannot be stopped.
 * @param {number} userId Who would stop it.
 * @returns {{stopId: number, node: HTMLElement, words: HTMLElement}} Its text goes into `words`;
 *   a new element for each text would swallow clicks on the button.
 */
export function draftEntry(stopId, userId) {
  const words = element("div", { class: "text" });
  const when = element("span", { class: "when" }, "being written");
  const bubble = element("div", { class: "bubble" }, words, when);
  const stop = stopId ? stopButton(stopId, userId) : null;
  return { stopId, words, node: element("div", { class: "message bot draft" }, bubble, stop) };
}

function stopButton(stopId, userId) {
  const kind = "stopped_message_generation";
  const stop = () => act("update", { user: userId, kind, content: { draft_id: stopId } });
  return element("button", { class: "stop", type: "button", onclick: stop }, "Stop");
}

function keyboard(message, chat, userId) {
  const rows = message.reply_markup?.inline_keyboard;
  if (!rows?.length) return null;
  const lines = rows.map((row, y) => {
    const buttons = row.map((button, x) => {
      return keyboardButton(button, message, chat, userId, `${message.message_id}/${y}/${x}`);
    });
    return element("div", { class: "keyboard-row" }, ...buttons);
  });
  return element("div", { class: "keyboard", role: "group", "aria-label": "Buttons" }, ...lines);
}

function keyboardButton(button, message, chat, userId, place) {
  const { text, callback_data: data, url, web_app: app } = button;
  if (data === undefined) {
    const target = url ?? app?.url;
    const known = /^(https?|tg):/i.test(target ?? "");
    const opens = { href: target, title: target, target: "_blank", rel: "noopener noreferrer" };
    return known
      ? element("a", { class: keyClass(button), ...opens }, text)
      : element("button", { class: keyClass(button), type: "button", disabled: true }, text);
  }
  const busy = isPressed(chat, place);
  const pressNow = () => press(userId, message.chat.id, message.message_id, data, place);
  return element(
    "button",
    {
      class: keyClass(button),
      type: "button",
      title: `callback_data: ${data}`,
      "aria-busy": busy ? "true" : null,
      "data-place": place,
      onclick: () => isPressed(chat, place) || pressNow(),
    },
    text,
    busy && element("span", { class: "spinner" }),
  );
}

/** Draw the row of dots that says what the bot does, such as typing. */
export function actionNode(name) {
  const dots = [0, 1, 2].map(() => element("i"));
  return element(
    "div",
    { class: "action" },
    element("span", { class: "dots", "aria-hidden": "true" }, ...dots),
    `${name.replaceAll("_", " ")} …`,
  );
}
