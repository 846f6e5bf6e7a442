/**
 * What the page knows, and who wants to hear of changes.
 *
 * Events change `state` at once; drawing happens at most once per frame, however many
 * events came in between.
 */

/** Update rows and messages of a chat that are kept and shown. */
export const WINDOW = 200;

/**
 * @typedef {object} Chat
 * @property {Map<number, object>} messages Telegram's Message objects, oldest first.
 * @property {string} draft What the bot is writing. Empty: nothing.
 * @property {number} [stopId] What stopping the draft refers to. 0: it cannot be stopped.
 * @property {number} [draftTimer] Ends the draft.
 * @property {{name: string, until: number} | null} action Such as "typing".
 * @property {Map<string, number>} pressed Unanswered presses: `message_id/row/column`
 *   to the time at which the spinner gives up.
 * @property {{message_id: number, markup: object} | null} asked A keyboard in the place
 *   of the letters, or a message that wants an answer.
 * @property {boolean} unread Something came while another chat was shown.
 */

/**
 * @typedef {object} BotState
 * @property {object} bot Telegram's User object of the bot.
 * @property {Map<number, Chat>} chats by chat id
 * @property {object[]} commands
 * @property {object} webhook
 * @property {Set<number>} blocked Ids of the users who blocked the bot.
 */

/** What is shown before the first snapshot. */
const NO_BOT = {
  bot: { username: "", first_name: "Sandbox" },
  chats: new Map(),
  commands: [],
  webhook: {},
  blocked: new Set(),
};

export const state = {
  connected: false,
  /** @type {Map<number, BotState>} by bot id, in the order in which they were added */
  bots: new Map(),
  /** The id of the bot whose chats are shown. */
  botId: 0,
  users: new Map(),
  /** Ids of the users whose chats are shown, left to right. */
  panes: [],
  faults: [],
  updates: {
    /** Keys of the rows in the window, oldest first: `bot id/update id`. */
    keys: [],
    rows: new Map(),
    turns: new Map(),
    total: 0,
    /** How many rows are kept: grows when older ones are asked for. */
    limit: WINDOW,
  },
};

const listeners = new Map();
let waiting = new Set();

/**
 * Draw again whenever a part changed.
 *
 * @param {string[]} parts "bot", "users", "chats", "updates", "faults", "webhook",
 *   "connection" or "restarted".
 * @param {() => void} draw
 */
export function onChange(parts, draw) {
  for (const part of parts) {
    listeners.set(part, [...(listeners.get(part) ?? []), draw]);
  }
}

/** Say that parts changed; they are drawn in the next frame, or by `drawNow`. */
export function changed(...parts) {
  if (waiting.size === 0) requestAnimationFrame(drawNow);
  for (const part of parts) waiting.add(part);
}

/**
 * Draw what changed without waiting for the next frame.
 *
 * A person who switches chats may type before that frame: the keys must reach the
 * composer of the new chat, not the one that is about to be replaced.
 */
export function drawNow() {
  const parts = waiting;
  waiting = new Set();
  const draws = new Set([...parts].flatMap((part) => listeners.get(part) ?? []));
  for (const draw of draws) {
    try {
      draw();
    } catch (problem) {
      reportError(problem); // to the console; the other parts are drawn all the same
    }
  }
}

/** Give the state of a bot; without an id, or with an unknown one, of the one that is shown. */
export function botState(botId = state.botId) {
  return state.bots.get(botId) ?? state.bots.get(state.botId) ?? NO_BOT;
}

/** Give the chat of an id with a bot, a new one if there is none. */
export function chatOf(chatId, botId = state.botId) {
  return chatIn(botState(botId).chats, chatId);
}

/** Give the chat of an id in a map of chats, a new one if there is none. */
export function chatIn(chats, chatId) {
  const id = Number(chatId);
  if (!chats.has(id)) {
    chats.set(id, {
      messages: new Map(),
      draft: "",
      action: null,
      pressed: new Map(),
      asked: null,
      unread: false,
    });
  }
  return chats.get(id);
}
