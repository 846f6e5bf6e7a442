/** What happened: the newest updates, each of which opens into its timeline. */

import { element, place } from "./dom.js";
import { loadOlder, showNewest, shownKeys } from "./updates.js";
import { moveFocus } from "./menu.js";
import { Row } from "./row.js";
import { drawNow, onChange, state, WINDOW } from "./state.js";
import { showProblem } from "./toast.js";
import { amount, counted } from "./words.js";

/** Draw the list into an element, and again whenever it changes. */
export function startHappened(root) {
  const total = element("span", { class: "total" });
  const title = element("h2", { id: "happened-title" }, "What happened");
  const list = element("ol", {
    class: "rows",
    "aria-label": "Updates, newest first",
    onkeydown: (event) => {
      if (event.target.matches(".row-head")) {
        moveFocus(event, list, ".row-head", ["ArrowUp", "ArrowDown"]);
      }
    },
  });
  const more = element("p", { class: "more" });
  const scroller = element("div", { class: "scroller" }, list, more);
  root.append(element("div", { class: "happened-head" }, title, total), scroller);
  const rows = new Map();
  onChange(["restarted"], () => rows.clear());
  onChange(["updates", "users"], () => {
    const keys = shownKeys();
    for (const key of keys) if (!rows.has(key)) rows.set(key, new Row(key));
    if (rows.size > keys.length) forgetOthers(rows, keys);
    for (const key of keys) rows.get(key).draw();
    place(list, keys.map((key) => rows.get(key).node));
    total.textContent = keys.length ? counted(state.updates.total, "update") : "";
    drawMore(more, keys.length);
  });
}

function forgetOthers(rows, keys) {
  const kept = new Set(keys);
  for (const key of rows.keys()) if (!kept.has(key)) rows.delete(key);
}

/** Say how many older updates there are, with buttons to see them. */
function drawMore(node, shown) {
  const hidden = state.updates.total - shown;
  const key = `${hidden}/${shown}`;
  if (node.dataset.key === key) return;
  node.dataset.key = key;
  if (shown === 0) {
    node.textContent = "Nothing yet. Each message, and each pressed button, becomes a row here.";
    return;
  }
  const words = hidden > 0 ? `${amount(hidden)} older not shown` : "";
  place(node, [
    element("span", {}, words),
    hidden > 0 && element("button", { type: "button", onclick: older }, "Load 100 older"),
    shown > WINDOW && element("button", { type: "button", onclick: showNewest }, `Newest ${WINDOW} only`),
  ].filter(Boolean));
}

async function older(event) {
  const { target } = event;
  const line = target.parentElement;
  target.disabled = true;
  try {
    await loadOlder();
    drawNow();
  } catch (problem) {
    showProblem(problem.message);
  }
  target.disabled = false;
  // The button was replaced, or there are no older rows: keep the focus nearby.
  if (!target.isConnected) line.querySelector("button")?.focus();
}
