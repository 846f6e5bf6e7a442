/** The one stream of events: each changes the state, and nothing else. */

import { addRow, addTurn, replaceRows } from "./updates.js";
import { endPress, forgetPresses } from "./presses.js";
import { recall } from "./remembered.js";
import { changed, chatOf, state, WINDOW } from "./state.js";
import { showAnswer } from "./toast.js";

const RETRY_MS = 1500;
const ACTION_MS = 5000;
/** How long a chat action is shown, as in Telegram's apps. */
const DRAFT_MS = 30_000;
/** How long a draft is shown after its newest piece. See Bot API: sendMessageDraft. */

/** Listen for as long as the page is open. */
export function listen() {
  const source = new EventSource("/events");
  source.onopen = () => connected(true);
  source.onmessage = (event) => apply(JSON.parse(event.data));
  source.onerror = () => {
    connected(false);
    // The browser tries again by itself, except after an answer that is no stream.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
  };
}

function connected(now) {
  if (now === state.connected) return;
  state.connected = now;
  changed("connection");
}

/** Change the state as an event says; unknown types are ignored. */
export function apply(event) {
  HANDLERS[event.type]?.(event);
}

const HANDLERS = {
  snapshot,
  message: ({ chat_id, message }) => showMessage(chat_id, message),
  edited({ chat_id, message }) {
    // What is not in the window any more would come in at its end, as if it were new.
    if (chatOf(chat_id).messages.has(message.message_id)) showMessage(chat_id, message);
  },
  deleted({ chat_id, message_id }) {
    chatOf(chat_id).messages.delete(message_id);
    changed("chats");
  },
  asked({ chat_id, asked }) {
    chatOf(chat_id).asked = asked;
    changed("chats");
  },
  draft({ chat_id, text, stop_id }) {
    const chat = chatOf(chat_id);
    clearTimeout(chat.draftTimer);
    chat.draftTimer = setTimeout(() => endDraft(chat), DRAFT_MS);
    Object.assign(chat, { draft: text, stopId: stop_id, action: null });
    changed("chats");
  },
  answer(event) {
    endPress(event);
    if (event.text) showAnswer(event);
  },
  action({ chat_id, action }) {
    chatOf(chat_id).action = { name: action, until: Date.now() + ACTION_MS };
    setTimeout(() => changed("chats"), ACTION_MS + 50);
    changed("chats");
  },
  commands: ({ commands }) => set("commands", commands),
  faults: ({ faults }) => set("faults", faults),
  webhook: ({ webhook }) => set("webhook", webhook),
  user({ user }) {
    state.users.set(user.id, user);
    changed("users", "chats");
  },
  update: ({ row }) => addRow(row),
  turn: ({ update_id, turn }) => addTurn(update_id, turn),
};

function set(part, value) {
  state[part] = value;
  changed(part);
}

/** Start again from the state of the server, which may have been restarted. */
function snapshot(event) {
  const { bot, commands, faults, webhook } = event;
  Object.assign(state, { bot, commands, faults, webhook });
  state.users = new Map(event.users.map((user) => [user.id, user]));
  state.chats = new Map();
  forgetPresses();
  for (const [id, messages] of Object.entries(event.messages)) {
    const chat = chatOf(id);
    for (const message of messages) chat.messages.set(message.message_id, message);
  }
  for (const [id, asked] of Object.entries(event.asked ?? {})) chatOf(id).asked = asked;
  const shown = state.panes.length ? state.panes : (recall("panes") ?? []);
  const kept = shown.filter((id) => state.users.has(id));
  state.panes = kept.length ? kept : event.users.slice(0, 1).map((user) => user.id);
  replaceRows(event.updates, event.total_updates);
  changed("bot", "users", "chats", "commands", "faults", "webhook", "updates");
}

function endDraft(chat) {
  chat.draft = "";
  changed("chats");
}

function showMessage(chatId, message) {
  const chat = chatOf(chatId);
  const isNew = !chat.messages.has(message.message_id);
  if (isNew && message.from?.is_bot) Object.assign(chat, { draft: "", action: null });
  if (isNew && !state.panes.includes(Number(chatId))) {
    chat.unread = true;
    changed("users");
  }
  chat.messages.set(message.message_id, message);
  if (chat.messages.size > WINDOW) chat.messages.delete(chat.messages.keys().next().value);
  changed("chats");
}
