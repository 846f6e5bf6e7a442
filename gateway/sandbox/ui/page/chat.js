/** The chats: one pane for each user that is shown. */

import { askedNode } from "./asked.js";
import { composer, PLACEHOLDER } from "./composer.js";
import { element, place } from "./dom.js";
import { icon } from "./icons.js";
import { actionNode, draftEntry, messageNode, oddNode } from "./message.js";
import { aboutUser, newUserButton, tabs, toggleColumns } from "./people.js";
import { isPressed } from "./presses.js";
import { act } from "./server.js";
import { botState, chatOf, onChange, state, WINDOW } from "./state.js";

/** Seconds between two messages of one sender that are drawn as one group. */
const GROUP_SECONDS = 120;
/** A reader this near to the end, in pixels, is taken along when messages come. */
const NEAR_END = 80;

/** Draw the chats into an element, and again whenever they change. */
export function startChats(root) {
  const panes = [];
  const draw = () => {
    while (panes.length < state.panes.length) panes.push(new Pane(panes.length));
    panes.length = state.panes.length;
    root.classList.toggle("two", panes.length > 1);
    for (const pane of panes) pane.draw();
    place(root, panes.map((pane) => pane.node));
    panes[0]?.begin();
  };
  onChange(["users", "chats"], draw);
}

/** One chat with its tabs. Remembers what it drew, to draw only what changed. */
class Pane {
  constructor(index) {
    this.index = index;
    this.user = null;
    this.begun = false;
    this.head = element("div", { class: "pane-head" });
    this.about = element("div");
    this.log = element("div", { class: "log", role: "log", tabindex: "0", onscroll: () => this.noteEnd() });
    this.atEnd = true;
    this.size = "";
    // A keyboard that opens on a phone, or a longer text, must not hide the end.
    new ResizeObserver(() => this.resized()).observe(this.log);
    this.toasts = element("div", { class: "toasts", role: "status" });
    this.foot = element("div", { class: "pane-foot" });
    this.body = element(
      "div",
      { class: "pane-body", id: `pane-${index}`, role: "tabpanel" },
      this.about,
      element("div", { class: "log-frame" }, this.log, this.toasts),
      this.foot,
    );
    this.node = element("div", { class: "pane" }, this.head, this.body);
    this.tools = index === 0 ? [newUserButton(), columnsButton()] : [];
    this.drawn = new Map();
  }

  draw() {
    const user = state.users.get(state.panes[this.index]);
    if (!user) return;
    const held = this.node.contains(document.activeElement);
    this.drawHead();
    this.drawUser(user);
    this.drawLog(chatOf(user.id), user);
    this.drawAsked(chatOf(user.id), user);
    // What had the focus may be gone: a button that an edit took away, a menu of the user.
    if (held && !this.node.contains(document.activeElement)) this.focus();
  }

  /** Put the focus where a person goes on: to the composer, or to what unblocks the bot. */
  focus() {
    const targets = this.foot.querySelectorAll(".blocked button, .composer:not([hidden]) textarea");
    targets[0]?.focus();
  }

  /** Once: whoever opens the page may write at once. A phone would open its keyboard. */
  begin() {
    if (this.begun) return;
    this.begun = true;
    const isFree = document.activeElement === document.body;
    if (isFree && matchMedia("(pointer: fine)").matches) this.focus();
  }

  drawHead() {
    const focused = this.head.contains(document.activeElement) && document.activeElement.dataset.tab;
    const key = [...state.users.values()].map((user) => [
      user.id, user.first_name, user.id === state.panes[this.index], chatOf(user.id).unread,
    ]);
    if (this.headKey === JSON.stringify(key)) return;
    this.headKey = JSON.stringify(key);
    const scrolled = this.head.firstChild?.scrollLeft ?? 0;
    const list = tabs(this.index);
    place(this.head, [list, ...this.tools]);
    list.scrollLeft = scrolled;
    const chosen = list.querySelector("[aria-selected=true]");
    chosen?.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (focused) chosen?.focus();
  }

  drawUser(user) {
    const hasBlocked = botState().blocked.has(user.id);
    const another = user.id !== this.user?.id || state.botId !== this.botId;
    if (!another && user === this.user && hasBlocked === this.hasBlocked) return;
    Object.assign(this, { user, botId: state.botId, hasBlocked });
    this.node.dataset.user = user.id;
    this.body.setAttribute("aria-label", `Chat of ${user.first_name}`);
    this.log.setAttribute("aria-label", `Messages of ${user.first_name}`);
    this.about.replaceChildren(aboutUser(user));
    if (another) {
      this.drawn = new Map();
      this.foot.replaceChildren(composer(user.id));
    }
    this.foot.querySelector(".blocked")?.remove();
    this.foot.querySelector(".composer").hidden = hasBlocked;
    if (hasBlocked) this.foot.prepend(blockedNote(user));
    if (another) this.atEnd = true;
  }

  /** Draw the keyboard or the question above the place to write. */
  drawAsked(chat, user) {
    const form = this.foot.querySelector(".composer");
    const input = form.querySelector("textarea");
    // Who blocked the bot has no keyboard of it.
    const asked = this.hasBlocked ? null : chat.asked;
    if (this.asked === asked && this.askedIn === form) return;
    this.asked = asked;
    this.askedIn = form;
    this.foot.querySelector(".asked")?.remove();
    const node = asked && askedNode(chat, user.id);
    if (node) form.before(node);
    input.placeholder = asked?.markup.input_field_placeholder ?? PLACEHOLDER;
    if (asked?.markup.force_reply) input.focus();
  }

  resized() {
    this.size = this.sizeOfLog();
    if (this.atEnd) this.toEnd();
  }

  sizeOfLog() {
    return `${this.log.clientWidth} ${this.log.clientHeight}`;
  }

  noteEnd() {
    // A new size scrolls the log too, before `resized` hears of it: no reader did that.
    if (this.size !== this.sizeOfLog()) return;
    const { scrollHeight, scrollTop, clientHeight } = this.log;
    this.atEnd = scrollHeight - scrollTop - clientHeight < NEAR_END;
  }

  toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
  }

  drawLog(chat, user) {
    const drawn = new Map();
    let before = null;
    for (const message of chat.messages.values()) {
      const entry = this.drawMessage(message, chat, user.id);
      entry.node.classList.toggle("follows", follows(before, message));
      drawn.set(message.message_id, entry);
      before = message;
    }
    this.drawn = drawn;
    const nodes = [...drawn.values()].map((entry) => entry.node);
    if (nodes.length === 0) nodes.push(emptyNote(user));
    if (nodes.length >= WINDOW) nodes.unshift(element("p", { class: "note" }, `The newest ${WINDOW} messages`));
    if (chat.draft) nodes.push(this.drawDraft(chat, user.id));
    if (chat.action?.until > Date.now()) nodes.push(actionNode(chat.action.name));
    place(this.log, nodes);
    if (this.atEnd) this.toEnd();
  }

  drawDraft(chat, userId) {
    if (this.draft?.stopId !== chat.stopId) this.draft = draftEntry(chat.stopId, userId);
    this.draft.words.textContent = chat.draft;
    return this.draft.node;
  }

  /** Draw a message, or give what was drawn of it if nothing changed since. */
  drawMessage(message, chat, userId) {
    const old = this.drawn.get(message.message_id);
    const pressed = [...chat.pressed.keys()]
      .filter((each) => each.startsWith(`${message.message_id}/`) && isPressed(chat, each))
      .join();
    if (old?.message === message && old.pressed === pressed) return old;
    const node = messageOrNote(message, chat, userId);
    const focused = old?.node.contains(document.activeElement) && document.activeElement.dataset.place;
    if (focused) {
      // The pressed button is replaced by one with a spinner: the focus goes along.
      old.node.replaceWith(node);
      node.querySelector(`[data-place="${focused}"]`)?.focus();
    }
    return { message, pressed, node };
  }
}

/** One message that cannot be drawn must not hide the others. */
function messageOrNote(message, chat, userId) {
  try {
    return messageNode(message, chat, userId);
  } catch {
    return oddNode(message);
  }
}

function follows(before, message) {
  if (!before || before.from?.id !== message.from?.id) return false;
  return message.date - before.date < GROUP_SECONDS;
}

function columnsButton() {
  const button = element(
    "button",
    { type: "button", class: "tool columns", "aria-label": "Two chats side by side", title: "Two chats side by side", "aria-pressed": "false", onclick: toggleColumns },
    icon("columns"),
  );
  onChange(["users"], () => button.setAttribute("aria-pressed", String(state.panes.length > 1)));
  return button;
}

function blockedNote(user) {
  return element(
    "div",
    { class: "blocked", role: "status" },
    `${user.first_name} has blocked the bot: what the bot sends is refused with 403.`,
    element("button", { type: "button", onclick: () => act("block", { user: user.id, blocked: false }) }, "Unblock"),
  );
}

function emptyNote(user) {
  return element(
    "p",
    { class: "note empty" },
    `Nothing was said yet. Write something as ${user.first_name}, or begin with /start.`,
  );
}
