/** One update in the list, closed or open. */

import { botName } from "./bots.js";
import { element } from "./dom.js";
import { icon } from "./icons.js";
import { get } from "./server.js";
import { onChange, state } from "./state.js";
import { timeline, totalSeconds } from "./timeline.js";
import { clockTime, duration, meaning, spaced, verdict } from "./words.js";

/** The keys of the open rows: they stay open when the list is drawn again. */
const open = new Set();

/** Seconds in the mailbox from which on the list says it. */
const WORTH_SAYING = 0.02;

/** Remembers what it drew, to draw only what changed. */
export class Row {
  /** @param {string} key `bot id/update id`. */
  constructor(key) {
    this.key = key;
    [this.botId, this.id] = key.split("/").map(Number);
    this.view = "";
    /** What was asked for: the update, the request and the reply. */
    this.texts = {};
    this.head = element("button", {
      type: "button",
      class: "row-head",
      "aria-controls": `update-${key}`,
      onclick: () => this.toggle(),
    });
    this.body = element("div", { class: "row-body", id: `update-${key}`, hidden: true });
    this.node = element("li", { class: "row", "data-update": this.id }, this.head, this.body);
  }

  draw() {
    const row = state.updates.rows.get(this.key);
    const turn = state.updates.turns.get(this.key);
    // Of an update that did not come from here, only the gateway knows whose it is.
    const user = state.users.get(row.user_id || turn?.telegram_user_id);
    const isOpen = open.has(this.key);
    const bot = botName(row.bot_id);
    const isSame = this.row === row && this.turn === turn && this.user === user && this.bot === bot;
    if (isSame && this.isOpen === isOpen) return;
    const more = isOpen && this.turn !== turn; // a turn in the stream lacks its texts
    Object.assign(this, { row, turn, user, bot, isOpen });
    this.drawHead();
    this.body.hidden = !isOpen;
    if (isOpen) this.drawBody();
    else this.body.replaceChildren();
    if (more) this.load();
  }

  drawHead() {
    const { row, turn, user } = this;
    const kind = spaced(row.kind || turn?.kind || "");
    const { word, tone } = verdict(judged(row, turn));
    const total = turn ? totalSeconds(turn) : (row.seconds ?? null);
    const waited = waitedSeconds(turn);
    this.node.dataset.tone = tone;
    this.head.setAttribute("aria-expanded", String(this.isOpen));
    this.head.replaceChildren(
      icon("chevron"),
      element("span", { class: "row-title" }, row.title || kind),
      element("span", { class: `verdict ${tone}` }, word),
      element("span", { class: "row-total" }, total === null ? "" : duration(total)),
      element(
        "span",
        { class: "row-facts" },
        element("time", {}, clockTime(row.sent_at)),
        element("span", {}, user?.first_name ?? (row.user_id ? `id ${row.user_id}` : "")),
        this.bot && element("span", {}, this.bot),
        element("span", { class: "kind" }, kind),
        row.attempts > 1 && element("span", { class: "again" }, `${row.attempts} attempts`),
        waited > WORTH_SAYING && element("span", { class: "again" }, `waited ${duration(waited)}`),
      ),
    );
  }

  drawBody() {
    const { turn, row } = this;
    const sentence = meaning(turn?.outcome || row.outcome);
    const { tone } = verdict(judged(row, turn));
    const nodes = [facts(row, turn)];
    if (turn?.losses?.length) nodes.unshift(losses(turn));
    if (sentence) nodes.unshift(element("p", { class: `meaning ${tone}` }, sentence));
    if (turn?.steps.length) nodes.push(timeline(turn.steps));
    else nodes.push(element("p", { class: "note" }, absence(row)));
    nodes.push(this.views());
    const focused = this.body.contains(document.activeElement) && document.activeElement.dataset.view;
    this.body.replaceChildren(...nodes);
    if (focused) this.body.querySelector(`[data-view="${focused}"]`)?.focus();
  }

  /** Buttons for the texts behind the update, and the one that was asked for. */
  views() {
    const { texts } = this;
    const titles = { update: "Update, JSON", request: "Request", reply: "Reply" };
    const buttons = Object.keys(titles).map((name) =>
      element(
        "button",
        {
          type: "button",
          "aria-pressed": String(this.view === name),
          disabled: name !== "update" && !texts[name],
          "data-view": name,
          onclick: () => this.show(name),
        },
        titles[name],
      ),
    );
    const text = this.view && texts[this.view];
    return element(
      "div",
      { class: "views-of-update" },
      element("div", { class: "view-buttons" }, ...buttons),
      text && element("pre", { class: "code", tabindex: "0", "aria-label": titles[this.view] }, text),
    );
  }

  show(name) {
    this.view = this.view === name ? "" : name;
    this.drawBody();
  }

  toggle() {
    if (open.delete(this.key)) this.draw();
    else {
      open.add(this.key);
      this.draw();
      this.load();
    }
  }

  /** Get what the stream does not bring: the texts, and an older turn. */
  async load() {
    try {
      const { row, update, turn } = await get(`/updates/${this.id}?bot=${this.botId}`);
      const { rows, turns } = state.updates;
      this.texts = { update: JSON.stringify(update, null, 2), request: turn?.request, reply: turn?.reply };
      if (!rows.has(this.key)) return;
      rows.set(this.key, row);
      if (turn && !turns.has(this.key)) {
        turns.set(this.key, turn);
        this.turn = turn;
      }
    } catch (problem) {
      this.texts = { ...this.texts, update: problem.message };
    }
    this.row = null;
    this.draw();
  }
}

// A sandbox that was started again may give the same ids to other updates.
onChange(["restarted"], () => open.clear());

/** What is known of an update's end: the gateway's last word counts. */
function judged(row, turn) {
  return { ...row, outcome: turn?.outcome || row.outcome, losses: turn?.losses?.length ?? row.losses };
}

/** Why the user sees something else than the service's reply. */
function losses(turn) {
  const lines = turn.losses.map((loss) => element("li", {}, loss));
  return element("ul", { class: "losses", "aria-label": "What the user does not see" }, ...lines);
}

function waitedSeconds(turn) {
  const waits = turn?.steps.filter((step) => step.name === "waited") ?? [];
  return waits.reduce((sum, step) => sum + step.end - step.start, 0);
}

function absence(row) {
  if (row.state === "accepted") return "The gateway has not told yet what became of it.";
  if (row.state === "failing") return "The gateway does not take it; Telegram tries again.";
  return "It has not reached the gateway yet: an update before it is still on its way.";
}

/** What is known of an update besides its steps. */
function facts(row, turn) {
  const delivered = row.accepted_after == null ? "" : ` in ${duration(row.accepted_after)}`;
  const pairs = [
    ["Update", row.update_id],
    ["Webhook", row.status ? `${row.status}${delivered}` : ""],
    ["Attempts", row.attempts > 1 ? row.attempts : ""],
    ["Route", turn?.route],
    ["Fault", turn?.fault],
    ["Request id", turn?.request_id],
  ];
  const shown = pairs.filter(([, value]) => value);
  const cells = shown.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))]);
  return element("dl", { class: "facts-of-update" }, ...cells);
}
