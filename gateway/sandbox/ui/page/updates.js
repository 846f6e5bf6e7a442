/**
 * The window of updates: the newest ones, and as many older ones as were asked for.
 *
 * However many updates there are, only the window is kept here and shown.
 */

import { get } from "./server.js";
import { changed, state, WINDOW } from "./state.js";

const PAGE = 100;
/** How many older rows are loaded at a time. */
const SLACK = 300;
/** Rows over the limit before some are dropped, so that bursts cost little. */

/** Start again with the newest rows. */
export function replaceRows(rows, total) {
  const { updates } = state;
  // After a short break of the stream, what was told of turns before still holds.
  const restarted = total < updates.total;
  const turns = restarted ? new Map() : updates.turns;
  Object.assign(updates, { keys: [], rows: new Map(), turns: new Map(), limit: WINDOW, total });
  for (const row of rows) {
    const key = insert(row);
    const turn = turns.get(key);
    if (turn) updates.turns.set(key, turn);
  }
  if (restarted) changed("restarted");
  changed("updates");
}

/** Add a row, or replace it by what is known of it now. */
export function addRow(row) {
  const { updates } = state;
  if (!updates.rows.has(keyOf(row))) {
    const oldest = updates.rows.get(updates.keys[0]);
    const full = updates.keys.length >= updates.limit;
    if (full && isBefore(row, oldest)) return; // it slid out of the window before
    updates.total += 1;
  }
  insert(row);
  if (updates.keys.length > updates.limit + SLACK) trim();
  changed("updates");
}

/** Keep what the gateway tells of an update. */
export function addTurn({ bot_id, update_id, turn }) {
  const key = keyOf({ bot_id: bot_id ?? state.botId, update_id });
  if (!state.updates.rows.has(key)) return;
  state.updates.turns.set(key, turn);
  changed("updates");
}

/** The keys to show, newest first. */
export function shownKeys() {
  if (state.updates.keys.length > state.updates.limit) trim();
  return state.updates.keys.slice().reverse();
}

/** Load rows before the oldest one of the window. */
export async function loadOlder() {
  const { updates } = state;
  const [botId, oldest] = updates.keys[0].split("/");
  const { updates: rows } = await get(`/updates?before=${oldest}&bot=${botId}&limit=${PAGE}`);
  updates.limit = Math.max(updates.limit, updates.keys.length) + rows.length;
  if (rows.length === 0) updates.total = updates.keys.length; // no older ones are kept
  for (const row of rows) insert(row);
  changed("updates");
}

/** Show the newest rows only, as at first. */
export function showNewest() {
  state.updates.limit = WINDOW;
  changed("updates");
}

/** The key of a row: two bots may have updates with the same id. */
function keyOf({ bot_id: botId, update_id: updateId }) {
  return `${botId}/${updateId}`;
}

function insert(row) {
  const { keys, rows } = state.updates;
  const key = keyOf(row);
  if (!rows.has(key)) {
    let place = keys.length;
    while (place > 0 && isBefore(row, rows.get(keys[place - 1]))) place -= 1;
    keys.splice(place, 0, key);
  }
  rows.set(key, row);
  return key;
}

/** In the order of their times: a curl may give its update any number. */
function isBefore(row, other) {
  return row.sent_at < other.sent_at || (row.sent_at === other.sent_at && row.update_id < other.update_id);
}

function trim() {
  const { keys, rows, turns, limit } = state.updates;
  for (const key of keys.splice(0, keys.length - limit)) {
    rows.delete(key);
    turns.delete(key);
  }
}
