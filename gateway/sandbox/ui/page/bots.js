/** Which bot is shown: the sandbox may have several, each with chats of its own. */

import { element, place } from "./dom.js";
import { recall, remember } from "./remembered.js";
import { botState, changed, chatIn, chatOf, drawNow, state } from "./state.js";

/** Take the bots of a snapshot, and show the one that was shown before. */
export function replaceBots(views) {
  state.bots = new Map(views.map((view) => [view.bot.id ?? 0, readBot(view)]));
  const wanted = [state.botId, recall("bot")].find((id) => state.bots.has(id));
  state.botId = wanted ?? state.bots.keys().next().value;
}

/** Add a bot. */
export function addBot(view) {
  state.bots.set(view.bot.id, readBot(view));
  changed("bot", "updates");
}

function readBot({ bot, messages, asked, commands, webhook, blocked = [] }) {
  const chats = new Map();
  for (const [id, shown] of Object.entries(messages)) {
    const chat = chatIn(chats, id);
    for (const message of shown) chat.messages.set(message.message_id, message);
  }
  for (const [id, question] of Object.entries(asked ?? {})) chatIn(chats, id).asked = question;
  return { bot, chats, commands, webhook, blocked: new Set(blocked) };
}

/** Say the name of a bot. Empty: there is only one, which needs no name. */
export function botName(botId) {
  const known = state.bots.size > 1 && state.bots.get(botId);
  return known ? known.bot.first_name : "";
}

/** Draw the name of the bot, or what chooses one if there are several. */
export function drawBot(node) {
  const { first_name: name, username } = botState().bot;
  document.title = `${name} · Telegram sandbox`;
  if (state.bots.size < 2) {
    node.replaceChildren(name, element("span", {}, `@${username}`));
    return;
  }
  const chooser = node.querySelector("select") ?? newChooser();
  place(chooser, [...state.bots.values()].map(option));
  chooser.value = String(state.botId);
  if (!chooser.isConnected) node.replaceChildren(chooser);
}

function newChooser() {
  const choose = (event) => show(Number(event.target.value));
  return element("select", { "aria-label": "Bot", onchange: choose });
}

function option({ bot, chats }) {
  const isNew = bot.id !== state.botId && [...chats.values()].some((chat) => chat.unread);
  const words = `${bot.first_name} @${bot.username}${isNew ? " (new messages)" : ""}`;
  return element("option", { value: bot.id }, words);
}

function show(botId) {
  state.botId = botId;
  for (const userId of state.panes) chatOf(userId).unread = false;
  remember("bot", botId);
  changed("bot", "users", "chats", "webhook");
  drawNow();
}
