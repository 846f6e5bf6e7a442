/** Starts the page: its parts first, then the stream of events that fills them. */

import { startChats } from "./chat.js";
import { element } from "./dom.js";
import { listen } from "./events.js";
import { startHappened } from "./happened.js";
import { moveFocus } from "./menu.js";
import { recall, remember } from "./remembered.js";
import { startTop } from "./top.js";

/** Narrow screens show one part at a time; wide ones show both and no tabs. */
function startViews() {
  const views = document.getElementById("views");
  const show = (name) => {
    document.body.dataset.view = name;
    remember("view", name);
    for (const tab of views.children) {
      tab.setAttribute("aria-selected", String(tab.dataset.name === name));
      tab.tabIndex = tab.dataset.name === name ? 0 : -1;
    }
  };
  for (const [name, title, id] of [["chat", "Chat", "chats"], ["happened", "What happened", "happened"]]) {
    const attributes = { type: "button", role: "tab", "data-name": name, "aria-controls": id };
    views.append(element("button", { ...attributes, onclick: () => show(name) }, title));
  }
  views.addEventListener("keydown", (event) => {
    moveFocus(event, views, "button", ["ArrowLeft", "ArrowRight"])?.click();
  });
  show(recall("view") === "happened" ? "happened" : "chat");
}

/** The first stop of the Tab key leads past everything to where a person writes. */
function startSkip() {
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.querySelector(".composer textarea")?.focus();
  });
}

startSkip();
startTop();
startViews();
startChats(document.getElementById("chats"));
startHappened(document.getElementById("happened"));
listen();
