/** The one stream of events: each changes the state, and nothing else. */

import { addBot, replaceBots } from "./bots.js";
import { addRow, addTurn, replaceRows } from "./updates.js";
import { endPress, forgetPresses } from "./presses.js";
import { recall } from "./remembered.js";
import { botState, changed, chatOf, state, WINDOW } from "./state.js";
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

/** Change the state as an event says; unknown types are ignored. An event without a bot is about the one shown. */
export function apply(event) {
  HANDLERS[event.type]?.(event);
}

const HANDLERS = {
  snapshot,
  bot: addBot,
  message: showMessage,
  edited(event) {
    // What is not in the window any more would come in at its end, as if it were new.
    if (chatOf(event.chat_id, event.bot_id).messages.has(event.message.message_id)) showMessage(event);
  },
  deleted({ bot_id, chat_id, message_id }) {
    chatOf(chat_id, bot_id).messages.delete(message_id);
    changed("chats");
  },
  asked({ bot_id, chat_id, asked }) {
    chatOf(chat_id, bot_id).asked = asked;
    changed("chats");
  },
  draft({ bot_id, chat_id, text, stop_id }) {
    const chat = chatOf(chat_id, bot_id);
    clearTimeout(chat.draftTimer);
    chat.draftTimer = setTimeout(() => endDraft(chat), DRAFT_MS);
    Object.assign(chat, { draft: text, stopId: stop_id, action: null });
    changed("chats");
  },
  answer(event) {
    endPress(event);
    if (event.text && isShown(event.bot_id)) showAnswer(event);
  },
  action({ bot_id, chat_id, action }) {
    chatOf(chat_id, bot_id).action = { name: action, until: Date.now() + ACTION_MS };
    setTimeout(() => changed("chats"), ACTION_MS + 50);
    changed("chats");
  },
  commands({ bot_id, commands }) {
    botState(bot_id).commands = commands;
  },
  faults({ faults }) {
    state.faults = faults;
    changed("faults");
  },
  webhook({ bot_id, webhook }) {
    botState(bot_id).webhook = webhook;
    changed("webhook");
  },
  user({ bot_id, user }) {
    state.users.set(user.id, user);
    const { blocked } = botState(bot_id);
    if (user.blocked) blocked.add(user.id);
    else blocked.delete(user.id);
    changed("users", "chats");
  },
  update: ({ row }) => addRow(row),
  turn: addTurn,
};

function isShown(botId = state.botId) {
  return botId === state.botId;
}

/** Start again from the state of the server, which may have been restarted. */
function snapshot(event) {
  state.faults = event.faults;
  state.users = new Map(event.users.map((user) => [user.id, user]));
  replaceBots([event, ...(event.other_bots ?? [])]);
  forgetPresses();
  const shown = state.panes.length ? state.panes : (recall("panes") ?? []);
  const kept = shown.filter((id) => state.users.has(id));
  state.panes = kept.length ? kept : event.users.slice(0, 1).map((user) => user.id);
  replaceRows(event.updates, event.total_updates);
  changed("bot", "users", "chats", "faults", "webhook", "updates");
}

function endDraft(chat) {
  chat.draft = "";
  changed("chats");
}

function showMessage({ bot_id: botId, chat_id: chatId, message }) {
  const chat = chatOf(chatId, botId);
  const isNew = !chat.messages.has(message.message_id);
  if (isNew && message.from?.is_bot) Object.assign(chat, { draft: "", action: null });
  if (isNew && !(isShown(botId) && state.panes.includes(Number(chatId)))) {
    chat.unread = true;
    changed("users");
  }
  chat.messages.set(message.message_id, message);
  if (chat.messages.size > WINDOW) chat.messages.delete(chat.messages.keys().next().value);
  changed("chats");
}
