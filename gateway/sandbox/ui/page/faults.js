/** Switches for what can go wrong with the Bot API. */

import { element, place } from "./dom.js";
import { opener } from "./menu.js";
import { act } from "./server.js";
import { onChange, state } from "./state.js";
import { spaced } from "./words.js";

/** Make the button that shows the switches, and says how many are on. */
export function faultsButton() {
  const count = element("span", { class: "count" });
  const list = element("div", { class: "fault-list" });
  const content = () => [element("h2", {}, "Faults of the Bot API"), list];
  onChange(["faults"], () => {
    const on = state.faults.filter((fault) => fault.on).length;
    count.textContent = on ? `${on} on` : "";
    const focused = list.contains(document.activeElement) && document.activeElement.name;
    place(list, state.faults.map(faultLine));
    if (focused) list.querySelector(`[name="${focused}"]`)?.focus();
  });
  return opener({ class: "quiet" }, ["Faults", count], content, "dialog");
}

const MEANING = {
  flood: "Every call is refused with 429 and retry_after.",
  server_error: "Every call is refused with a 5xx.",
  slow: "Every answer comes late; the call takes effect at once.",
  lost_answer: "Calls take effect, but the connection closes without an answer.",
};
const UNITS = { retry_after: "Seconds to wait", status: "HTTP status", delay: "Seconds late" };

function faultLine(fault) {
  const { name, on, method = "*" } = fault;
  const numbers = Object.entries(fault).filter(([field]) => UNITS[field]);
  const inputs = numbers.map(([field, value]) => {
    return element("input", { type: "number", step: "any", value, "data-field": field, disabled: on });
  });
  const flip = () => {
    const values = inputs.map((input) => [input.dataset.field, Number(input.value)]);
    act("fault", { name, on: !on, ...Object.fromEntries(values) });
  };
  return element(
    "div",
    { class: "fault" },
    element(
      "span",
      { class: "fault-words" },
      element("b", { id: `fault-${name}` }, spaced(name[0].toUpperCase() + name.slice(1))),
      element("span", {}, MEANING[name] ?? ""),
      method !== "*" && element("span", {}, `Only ${method}.`),
      ...inputs.map((input) => element("label", {}, `${UNITS[input.dataset.field]} `, input)),
    ),
    element(
      "button",
      { type: "button", class: "switch", role: "switch", name, "aria-checked": String(on), "aria-labelledby": `fault-${name}`, onclick: flip },
      on ? "on" : "off",
    ),
  );
}
