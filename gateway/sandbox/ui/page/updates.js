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
  Object.assign(updates, { ids: [], rows: new Map(), turns: new Map(), limit: WINDOW, total });
  for (const row of rows) {
    insert(row);
    const turn = turns.get(row.update_id);
    if (turn) updates.turns.set(row.update_id, turn);
  }
  if (restarted) changed("restarted");
  changed("updates");
}

/** Add a row, or replace it by what is known of it now. */
export function addRow(row) {
  const { updates } = state;
  if (!updates.rows.has(row.update_id)) {
    const oldest = updates.rows.get(updates.ids[0]);
    const full = updates.ids.length >= updates.limit;
    if (full && isBefore(row, oldest)) return; // it slid out of the window before
    updates.total += 1;
  }
  insert(row);
  if (updates.ids.length > updates.limit + SLACK) trim();
  changed("updates");
}

/** Keep what the gateway tells of an update. */
export function addTurn(updateId, turn) {
  if (!state.updates.rows.has(updateId)) return;
  state.updates.turns.set(updateId, turn);
  changed("updates");
}

/** The ids to show, newest first. */
export function shownIds() {
  if (state.updates.ids.length > state.updates.limit) trim();
  return state.updates.ids.slice().reverse();
}

/** Load rows before the oldest one of the window. */
export async function loadOlder() {
  const { updates } = state;
  const [oldest] = updates.ids;
  const { updates: rows } = await get(`/updates?before=${oldest}&limit=${PAGE}`);
  updates.limit = Math.max(updates.limit, updates.ids.length) + rows.length;
  if (rows.length === 0) updates.total = updates.ids.length; // no older ones are kept
  for (const row of rows) insert(row);
  changed("updates");
}

/** Show the newest rows only, as at first. */
export function showNewest() {
  state.updates.limit = WINDOW;
  changed("updates");
}

function insert(row) {
  const { ids, rows } = state.updates;
  const id = row.update_id;
  if (!rows.has(id)) {
    let place = ids.length;
    while (place > 0 && isBefore(row, rows.get(ids[place - 1]))) place -= 1;
    ids.splice(place, 0, id);
  }
  rows.set(id, row);
}

/** In the order of their times: a curl may give its update any number. */
function isBefore(row, other) {
  return row.sent_at < other.sent_at || (row.sent_at === other.sent_at && row.update_id < other.update_id);
}

function trim() {
  const { ids, rows, turns, limit } = state.updates;
  for (const id of ids.splice(0, ids.length - limit)) {
    rows.delete(id);
    turns.delete(id);
  }
}
