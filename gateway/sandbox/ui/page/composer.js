/** Where a user writes: text, commands with completion, attachments. */

import { answeredBy } from "./asked.js";
import { element, place } from "./dom.js";
import { icon } from "./icons.js";
import { menuItem, opener } from "./menu.js";
import { recall, remember } from "./remembered.js";
import { act } from "./server.js";
import { botState, chatOf, state } from "./state.js";

const KINDS = ["photo", "document", "voice", "video", "sticker", "location", "contact"];
const ALBUM = 3;
export const PLACEHOLDER = "Write a message";

/** Texts that were begun, by bot and user: they wait while another chat is shown, or over a reload. */
const begun = { ...recall("texts") };
let serial = 0;

/**
 * Make the place to write.
 *
 * @param {number} user Who writes.
 * @returns {HTMLElement}
 */
export function composer(user) {
  const id = `commands-${(serial += 1)}`;
  const chatKey = `${state.botId}/${user}`;
  const list = element("div", { class: "commands", id, role: "listbox", "aria-label": "Commands", hidden: true });
  const input = element("textarea", {
    rows: "1",
    placeholder: PLACEHOLDER,
    "aria-label": `Message of ${state.users.get(user)?.first_name ?? user}`,
    "aria-autocomplete": "list",
    "aria-haspopup": "listbox",
    "aria-controls": id,
    enterkeyhint: "send",
    oninput: changedText,
    onkeydown: typed,
    onblur: () => (list.hidden = true),
  });
  input.value = begun[chatKey] ?? "";
  let matches = [];
  let chosen = 0;

  function changedText() {
    if (input.value) begun[chatKey] = input.value;
    else delete begun[chatKey];
    remember("texts", begun);
    const typing = /^\/([a-z0-9_]*)$/.exec(input.value);
    matches = typing ? botState().commands.filter(({ command }) => command.startsWith(typing[1])) : [];
    chosen = 0;
    drawCommands();
  }

  function drawCommands() {
    list.hidden = matches.length === 0;
    place(list, matches.map(option));
    if (list.hidden) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", `${id}-${chosen}`);
    list.children[chosen]?.scrollIntoView({ block: "nearest" });
  }

  function option({ command, description }, index) {
    return element(
      "div",
      {
        id: `${id}-${index}`,
        role: "option",
        "aria-selected": String(index === chosen),
        onpointerdown: (event) => event.preventDefault(), // the input keeps the focus
        onclick: () => send(`/${command}`),
      },
      element("b", {}, `/${command}`),
      element("span", {}, description),
    );
  }

  function typed(event) {
    if (event.isComposing) return;
    const picking = !list.hidden;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send(picking ? `/${matches[chosen].command}` : input.value);
    } else if (picking && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      chosen = (chosen + (event.key === "ArrowDown" ? 1 : matches.length - 1)) % matches.length;
      drawCommands();
    } else if (picking && event.key === "Tab") {
      event.preventDefault();
      write(`/${matches[chosen].command} `);
    } else if (picking && event.key === "Escape") {
      list.hidden = true;
    }
  }

  function write(text) {
    input.value = text;
    input.focus();
    changedText();
  }

  async function send(text) {
    if (!text.trim()) return;
    const said = { user, text, reply_to: answeredBy(chatOf(user)) };
    write("");
    // What could not be said comes back, unless something else was begun since.
    if (!(await act("say", said)) && !input.value) write(text);
  }

  return element(
    "form",
    { class: "composer", onsubmit: (event) => (event.preventDefault(), send(input.value)) },
    list,
    attachMenu(user),
    element(
      "button",
      { type: "button", class: "tool", "aria-label": "Commands", title: "Commands", onclick: () => write("/") },
      element("span", { class: "slash", "aria-hidden": "true" }, "/"),
    ),
    input,
    element("button", { class: "primary send-button", "aria-label": "Send", title: "Send" }, icon("send")),
  );
}

function attachMenu(user) {
  const content = (close) => [
    ...KINDS.map((kind) =>
      menuItem(kind, kind[0].toUpperCase() + kind.slice(1), () => {
        close();
        act("attach", { user, kind });
      }),
    ),
    menuItem("album", `Album of ${ALBUM} photos`, () => {
      close();
      act("album", { user, count: ALBUM });
    }),
  ];
  const named = { class: "tool", "aria-label": "Attach", title: "Attach" };
  return opener(named, [icon("attach")], content);
}
