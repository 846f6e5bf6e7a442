/** A button that opens a small panel over the page: a menu, or a form. */

import { element } from "./dom.js";
import { icon } from "./icons.js";

let serial = 0;

/**
 * Make a button and its panel. Escape, or a click elsewhere, closes it.
 *
 * @param {Record<string, unknown>} attributes Of the button.
 * @param {(Node|string)[]} label What the button shows.
 * @param {(close: () => void) => Node[]} content Makes what the panel holds, each time.
 * @param {string} [role] "menu" or "dialog".
 */
export function opener(attributes, label, content, role = "menu") {
  const id = `panel-${(serial += 1)}`;
  const panel = element("div", { class: "panel", id, role, hidden: true });
  const words = label.filter((each) => typeof each === "string").join(" ");
  panel.setAttribute("aria-label", attributes["aria-label"] ?? words);
  const button = element(
    "button",
    { type: "button", "aria-haspopup": role, "aria-expanded": "false", "aria-controls": id, ...attributes },
    ...label,
  );
  const whole = element("div", { class: "opener" }, button, panel);
  const outside = (event) => whole.contains(event.target) || close();

  function close(giveBack = false) {
    panel.hidden = true;
    button.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", outside);
    if (giveBack) button.focus();
  }

  function open() {
    panel.replaceChildren(...content(() => close(true)));
    panel.hidden = false;
    button.setAttribute("aria-expanded", "true");
    document.addEventListener("pointerdown", outside);
    const first = panel.querySelector("button, input, textarea");
    first?.focus();
    // What is typed replaces the value that stands there.
    if (first?.matches("input")) first.select();
  }

  button.addEventListener("click", () => (panel.hidden ? open() : close()));
  whole.addEventListener("keydown", (event) => {
    if (panel.hidden) return;
    if (event.key === "Escape") close(true);
    if (role === "menu") moveFocus(event, panel, "button", ["ArrowUp", "ArrowDown"]);
  });
  whole.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !whole.contains(event.relatedTarget)) close();
  });
  return whole;
}

/** Make one line of a menu. */
export function menuItem(name, words, choose) {
  return element(
    "button",
    { type: "button", role: "menuitem", tabindex: "-1", onclick: choose },
    icon(name),
    words,
  );
}

/**
 * Move the focus with two arrow keys among the elements that a selector finds.
 *
 * @param {KeyboardEvent} event
 * @param {Element} within
 * @param {string} selector
 * @param {[string, string]} keys Back and forth.
 * @returns {Element|null} What has the focus now; null: it was another key.
 */
export function moveFocus(event, within, selector, keys) {
  const step = { [keys[0]]: -1, [keys[1]]: 1 }[event.key];
  if (!step) return null;
  const stops = [...within.querySelectorAll(selector)];
  const next = stops[stops.indexOf(document.activeElement) + step];
  event.preventDefault();
  next?.focus();
  return next ?? null;
}
