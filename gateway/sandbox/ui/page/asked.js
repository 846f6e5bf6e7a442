/** What the bot asks of a user: a keyboard in the place of the letters, or an answer. */

import { element } from "./dom.js";
import { act } from "./server.js";

const STYLES = new Set(["primary", "success", "danger"]);

/** Give the classes of a button. @param {{style?: string}} button */
export function keyClass({ style }) {
  return STYLES.has(style) ? `key ${style}` : "key";
}

/** Give the message that the user's next one answers. 0: none. */
export function answeredBy(chat) {
  return chat.asked?.markup.force_reply ? chat.asked.message_id : 0;
}

/**
 * Draw what is asked, above the place to write.
 *
 * @param {import("./state.js").Chat} chat
 * @param {number} user Whose chat it is.
 * @returns {HTMLElement|null} null: nothing is asked.
 */
export function askedNode(chat, user) {
  const { markup, message_id: id } = chat.asked ?? {};
  if (!markup) return null;
  if (markup.force_reply && !markup.keyboard) {
    return element("div", { class: "asked" }, quote(chat.messages.get(id), "Answer to "));
  }
  const rows = markup.keyboard.map((row) => {
    const buttons = row.map((button) => key(typeof button === "string" ? { text: button } : button, user));
    return element("div", { class: "keyboard-row" }, ...buttons);
  });
  return element("div", { class: "asked keyboard", role: "group", "aria-label": "Keyboard of the bot" }, ...rows);
}

/** Draw the message that another one answers. */
export function quote(message, before = "") {
  const text = message?.text ?? message?.caption ?? "a message";
  return element("div", { class: "quote" }, `${before}${text}`);
}

function key(button, user) {
  const { text, web_app: app } = button;
  if (app) {
    const opens = { href: app.url, title: app.url, target: "_blank", rel: "noopener noreferrer" };
    return element("a", { class: keyClass(button), ...(/^https:/i.test(app.url) && opens) }, text);
  }
  const press = () => {
    if (button.request_contact) act("attach", { user, kind: "contact" });
    else if (button.request_location) act("attach", { user, kind: "location" });
    else act("say", { user, text });
  };
  return element("button", { class: keyClass(button), type: "button", onclick: press }, text);
}
