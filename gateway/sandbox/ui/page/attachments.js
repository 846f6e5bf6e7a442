/** What a message carries besides text: what it is, and a link to the file. */

import { element } from "./dom.js";
import { icon } from "./icons.js";
import { duration, fileSize, fullName } from "./words.js";

const FILES = ["photo", "video", "animation", "document", "voice", "audio"];

/**
 * Draw a message's attachment.
 *
 * @param {object} message Telegram's Message object.
 * @returns {HTMLElement|null} null: it has none.
 */
export function attachment(message) {
  // An animation is sent as a document too, for old apps.
  const kind = ["animation", ...FILES].find((name) => message[name]);
  if (kind) return file(kind, message[kind]);
  if (message.sticker) return sticker(message.sticker);
  if (message.location) {
    const { latitude, longitude } = message.location;
    return card("location", "Location", `${latitude.toFixed(4)}, ${longitude.toFixed(4)}`);
  }
  if (message.contact) {
    return card("contact", fullName(message.contact), message.contact.phone_number);
  }
  return null;
}

function file(kind, value) {
  const one = Array.isArray(value) ? (value.at(-1) ?? {}) : value;
  const facts = [
    one.width && `${one.width} × ${one.height}`,
    one.duration && duration(one.duration),
    one.file_size && fileSize(one.file_size),
  ].filter(Boolean);
  const title = one.file_name ?? one.title ?? kind[0].toUpperCase() + kind.slice(1);
  const pictured = kind === "photo" || kind === "video" || kind === "animation";
  // What was sent by its id or address is not here.
  const link = one.file_size && {
    href: `/files/${encodeURIComponent(one.file_id)}`,
    download: one.file_name ?? kind,
  };
  return card(kind, title, facts.join(", ") || one.file_id, pictured && "pictured", link);
}

function sticker(value) {
  const shown = value.emoji ?? icon("sticker");
  return element("div", { class: "sticker", role: "img", "aria-label": "Sticker" }, shown);
}

function card(kind, title, facts, style, link) {
  return element(
    link ? "a" : "div",
    { class: `attachment ${style || ""}`, ...link },
    element("span", { class: "attachment-icon" }, icon(kind)),
    element(
      "span",
      { class: "attachment-words" },
      element("span", { class: "attachment-title" }, title),
      facts && element("span", { class: "attachment-facts" }, facts),
    ),
  );
}
