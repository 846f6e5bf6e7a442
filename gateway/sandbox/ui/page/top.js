/** The line at the top: the bot, its webhook, faults, and whether the page is live. */

import { drawBot } from "./bots.js";
import { faultsButton } from "./faults.js";
import { botState, onChange, state } from "./state.js";
import { counted } from "./words.js";

/** Draw the top line, and again whenever something in it changes. */
export function startTop() {
  const part = (id) => document.getElementById(id);
  part("faults").append(faultsButton());
  onChange(["bot", "users"], () => drawBot(part("bot")));
  onChange(["webhook"], () => drawWebhook(part("webhook")));
  onChange(["connection"], () => drawConnection(part("connection")));
  drawConnection(part("connection"));
}

function drawWebhook(node) {
  const { url, pending_update_count: pending = 0, last_error_message: problem } = botState().webhook;
  node.title = url || "";
  node.classList.toggle("bad", Boolean(problem));
  if (!url) node.textContent = "No webhook is set";
  else if (problem) node.textContent = `${counted(pending, "update")} pending. ${problem}`;
  else node.textContent = pending ? `${counted(pending, "update")} pending` : "";
}

/** Say whether the page is live. */
export function drawConnection(node) {
  node.classList.toggle("live", state.connected);
  node.textContent = state.connected ? "Live" : "Disconnected, trying again";
}
