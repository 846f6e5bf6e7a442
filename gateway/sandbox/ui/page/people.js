/** Whose chat is shown: tabs, new users, and what is said of the user of a chat. */

import { element } from "./dom.js";
import { icon } from "./icons.js";
import { moveFocus, opener } from "./menu.js";
import { act } from "./server.js";
import { remember } from "./remembered.js";
import { botState, changed, chatOf, drawNow, state } from "./state.js";
import { fullName } from "./words.js";

/** Colours of the round letters that stand for users. */
const COLOURS = 6;

/** Draw the round letter that stands for a user. */
export function avatar(user) {
  const colour = user.id % COLOURS;
  const letter = [...user.first_name][0] ?? "?";
  return element("span", { class: `avatar colour-${colour}`, "aria-hidden": "true" }, letter);
}

/** Draw the tabs of a pane; one of them is chosen. */
export function tabs(pane) {
  const chosen = state.panes[pane];
  const list = element("div", {
    class: "tabs",
    role: "tablist",
    "aria-label": "Users",
    onkeydown: (event) => moveFocus(event, list, "[role=tab]", ["ArrowLeft", "ArrowRight"])?.click(),
  });
  for (const user of state.users.values()) {
    const isChosen = user.id === chosen;
    const unread = !isChosen && chatOf(user.id).unread;
    list.append(
      element(
        "button",
        {
          type: "button",
          role: "tab",
          "aria-selected": String(isChosen),
          "aria-controls": `pane-${pane}`,
          tabindex: isChosen ? "0" : "-1",
          "data-tab": user.id,
          // A mouse goes on to write; arrow keys go on to the next tab.
          onclick: (event) => show(pane, user.id, event.detail > 0),
        },
        avatar(user),
        user.first_name,
        unread && element("span", { class: "unread" }, element("span", { class: "unseen" }, "unread")),
      ),
    );
  }
  return list;
}

/**
 * Show the chat of a user in a pane.
 *
 * @param {number} pane
 * @param {number} userId
 * @param {boolean} write Whether the focus goes to the composer.
 */
export function show(pane, userId, write) {
  state.panes[pane] = userId;
  chatOf(userId).unread = false;
  drawPanes();
  if (write) document.querySelector(`#pane-${pane} .composer:not([hidden]) textarea`)?.focus();
}

function drawPanes() {
  remember("panes", state.panes);
  changed("users", "chats");
  drawNow();
}

/** Show one more chat beside the first, or one only. */
export function toggleColumns() {
  if (state.panes.length > 1) state.panes.length = 1;
  else {
    const other = [...state.users.keys()].find((id) => !state.panes.includes(id));
    if (other === undefined) return;
    state.panes.push(other);
    chatOf(other).unread = false;
  }
  drawPanes();
}

/** A button that asks for the name of a new user. */
export function newUserButton() {
  const named = { class: "tool", "aria-label": "New user", title: "New user" };
  return opener(named, [icon("plus")], newUserForm, "dialog");
}

function newUserForm(close) {
  const name = element("input", { name: "first_name", required: true, maxlength: "64", autocomplete: "off" });
  const language = element("input", { name: "language_code", value: "en", maxlength: "8", size: "4", autocomplete: "off" });
  async function add(event) {
    event.preventDefault();
    const made = await act("user", { first_name: name.value, language_code: language.value });
    if (!made) return;
    close();
    state.users.set(made.id, made);
    show(0, made.id, true);
  }
  return [
    element(
      "form",
      { class: "fields", onsubmit: add },
      element("label", {}, "First name", name),
      element("label", {}, "Language", language),
      element("button", { class: "primary" }, "Add user"),
    ),
  ];
}

/** A line about a user, with what can be done besides writing. */
export function aboutUser(user) {
  const hasBlocked = botState().blocked.has(user.id);
  const facts = [user.username && `@${user.username}`, `id ${user.id}`, user.language_code];
  return element(
    "div",
    { class: "about" },
    element("b", {}, fullName(user)),
    element("span", { class: "facts" }, facts.filter(Boolean).join("  ·  ")),
    burstButton(user),
    element(
      "button",
      { type: "button", class: "quiet", onclick: () => act("block", { user: user.id, blocked: !hasBlocked }) },
      icon("block"),
      hasBlocked ? "Unblock bot" : "Block bot",
    ),
  );
}

function burstButton(user) {
  const content = (close) => {
    const count = element("input", { name: "count", type: "number", min: "1", max: "10000", value: "20", required: true });
    const text = element("input", { name: "text", placeholder: "numbered", autocomplete: "off" });
    const send = (event) => {
      event.preventDefault();
      close();
      act("burst", { user: user.id, count: Number(count.value), text: text.value });
    };
    return [
      element(
        "form",
        { class: "fields", onsubmit: send },
        element("label", {}, "Messages", count),
        element("label", {}, "Text", text),
        element("button", { class: "primary" }, "Send all at once"),
      ),
    ];
  };
  const named = { class: "quiet", title: "Many messages at once" };
  return opener(named, [icon("burst"), "Burst"], content, "dialog");
}
