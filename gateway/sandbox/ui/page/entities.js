/**
 * Formatted text. Telegram counts entities in UTF-16 code units, as JavaScript does.
 * See Bot API: MessageEntity.
 */

import { element } from "./dom.js";

const TAGS = {
  bold: "strong",
  italic: "em",
  underline: "u",
  strikethrough: "s",
  code: "code",
  pre: "pre",
  blockquote: "blockquote",
  expandable_blockquote: "blockquote",
};
const BLOCKS = new Set(["pre", "blockquote", "expandable_blockquote"]);
const SAFE_LINK = /^(https?|tg|mailto|tel):/i;

/**
 * Make nodes of a text and its entities, which may lie inside of each other.
 *
 * @param {string} text
 * @param {Array<{type: string, offset: number, length: number}>} entities Those that do
 *   not say where they are do nothing.
 * @param {{command: (words: string) => void, mention: (name: string) => (() => void)|null}} links
 *   What a click on a command does, and what one on an @name does; null: the name leads nowhere.
 * @returns {Node[]}
 */
export function formatted(text, entities, links) {
  const ordered = (entities ?? [])
    .filter((each) => Number.isInteger(each?.offset) && Number.isInteger(each.length))
    .sort((one, other) => one.offset - other.offset || other.length - one.length);
  return nodes(text, ordered, 0, text.length, links);
}

/** Format the part of the text from start to end; takes its entities off the list. */
function nodes(text, ordered, start, end, links) {
  const made = [];
  let at = start;
  while (ordered.length && ordered[0].offset < end) {
    const entity = ordered.shift();
    const from = Math.max(entity.offset, at);
    const to = Math.min(entity.offset + entity.length, end);
    if (to <= from) continue;
    // A block stands on lines of its own: the line breaks around it are not shown.
    const block = BLOCKS.has(entity.type);
    const before = text.slice(at, from);
    if (before) made.push(block && before.endsWith("\n") ? before.slice(0, -1) : before);
    const inside = nodes(text, ordered, from, to, links);
    made.push(wrapped(entity, inside, text.slice(from, to), links));
    at = block && text[to] === "\n" ? Math.min(to + 1, end) : to;
  }
  if (at < end) made.push(text.slice(at, end));
  return made;
}

function wrapped(entity, inside, words, links) {
  const tag = TAGS[entity.type];
  if (tag) return element(tag, { "data-language": entity.language }, ...inside);
  switch (entity.type) {
    case "spoiler":
      return spoiler(inside);
    case "text_link":
      return link(entity.url, inside);
    case "url":
      return link(/^\w+:/.test(words) ? words : `https://${words}`, inside);
    case "email":
      return link(`mailto:${words}`, inside);
    case "phone_number":
      return link(`tel:${words}`, inside);
    case "bot_command":
      return element(
        "button",
        { class: "command", type: "button", onclick: () => links.command(words) },
        ...inside,
      );
    case "custom_emoji":
      return element("span", {}, ...inside);
    case "mention":
      return mention(links.mention(words.slice(1)), inside);
    default: // hashtag, cashtag: links in Telegram that lead nowhere here
      return element("span", { class: "mention" }, ...inside);
  }
}

/** A name that opens a chat, if its user is here. */
function mention(open, inside) {
  if (!open) return element("span", { class: "mention" }, ...inside);
  return element("button", { class: "mention", type: "button", onclick: open }, ...inside);
}

/** A link, if it leads where links of Telegram may lead; else just its words. */
function link(url, inside) {
  if (!SAFE_LINK.test(url ?? "")) return element("span", {}, ...inside);
  const opens = { href: url, title: url, target: "_blank", rel: "noopener noreferrer" };
  return element("a", opens, ...inside);
}

function spoiler(inside) {
  const covered = element("span", { class: "spoiler-text", "aria-hidden": "true" }, ...inside);
  const cover = element(
    "button",
    { class: "spoiler", type: "button", "aria-label": "Show the hidden text" },
    covered,
  );
  cover.addEventListener("click", () => {
    cover.replaceWith(element("span", { class: "revealed" }, ...inside));
  });
  return cover;
}
