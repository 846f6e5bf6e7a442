/** Starts the page of a real bot: what happened to its updates, without any chats. */

import { element } from "./dom.js";
import { listen } from "./events.js";
import { startHappened } from "./happened.js";
import { botState, onChange } from "./state.js";
import { drawConnection } from "./top.js";

function drawBot(node) {
  const { first_name: name, username } = botState().bot;
  document.title = `${name} · traffic`;
  node.replaceChildren(name, element("span", {}, `@${username}`));
}

const part = (id) => document.getElementById(id);
onChange(["bot"], () => drawBot(part("bot")));
onChange(["connection"], () => drawConnection(part("connection")));
drawConnection(part("connection"));
startHappened(part("happened"));
listen();
