"""Formatted texts for comparisons with TDLib: well-formed ones, and nearly so."""

import random

MODES = ("HTML", "MarkdownV2", "Markdown")

_FAMILY = "👨‍👩‍👧‍👦"

_PAIRS = {
    "HTML": [
        ("<b>", "</b>"),
        ("<STRONG\n>", "</strong >"),
        ("<i>", "</>"),
        ("<u>", "</u>"),
        ("<s>", "</s>"),
        ('<a href="https://a.b/?q=a&amp;b>c">', "</a>"),
        ("<a href='tg://user?id=7' x=1 y>", "</a>"),
        ("<a href=a.b>", "</a>"),
        ("<pre>", "</pre>"),
        ('<pre><code class="language-py">', "</code></pre>"),
        ("<code>", "</code>"),
        ("<blockquote>", "</blockquote>"),
        ("<blockquote expandable>", "</blockquote>"),
        ('<span class="tg-spoiler">', "</span>"),
        ("<tg-spoiler>", "</tg-spoiler>"),
    ],
    "MarkdownV2": [
        ("*", "*"),
        ("_", "_"),
        ("__", "__"),
        ("~", "~"),
        ("||", "||"),
        ("`", "`"),
        ("```py\n", "```"),
        ("```\n", "```"),
        ("```", "```"),
        ("[", "](https://a.b/\\))"),
        ("[", "](tg://user?id=7)"),
        ("\n>", "\n"),
        ("\n**>", "||\n"),
        ("\n>", "||\n"),
    ],
    "Markdown": [
        ("*", "*"),
        ("_", "_"),
        ("`", "`"),
        ("```py\n", "```"),
        ("```", "```"),
        ("[", "](https://a.b/)"),
        ("[", "](tg://user?id=7)"),
        ("[", "]"),
    ],
}
_ATOMS = {
    "HTML": ["&amp;", "&#128512;", "&lt", "&#x41;", "&nbsp;", "&"],
    "MarkdownV2": ["\\.", "\\_", "\\`", "\\|", "\\\\", "\\>", "\n>", "\r"],
    "Markdown": ["\\*", "\\_", "\\", "]", ")", "\r"],
}
_PLAIN = ["word ", "слово ", "\n\n", "\n", "x", "😀", _FAMILY, " ", "a" * 30, "e\u0301"]
_ODD = {
    "HTML": [
        "<",
        ">",
        "</",
        "<b",
        "<b/>",
        "<br>",
        '<a href="',
        "<a href=>",
        "<b x='",
        '<tg-emoji emoji-id="5368324170671202286">👍</tg-emoji>',
        '<tg-emoji emoji-id="x">👍</tg-emoji>',
        '<tg-time unix="1790000000" format="wDT">then</tg-time>',
        '<span class="x">',
        '<code class="language-x">',
        "&#0;",
        "&#1114112;",
        "&quot;",
        "=",
        '"',
        "'",
        "/",
    ],
    "MarkdownV2": [
        "![👍](tg://emoji?id=5368324170671202286)",
        "![then](tg://time?unix=1790000000&format=D)",
        "![👍](https://a.b)",
        "[a.b]",
        "![",
        "](",
        ")",
        "|",
        "\\",
        ".",
        "#",
        ">",
        "**",
        "||\n",
        "\\\n",
        "(",
        "!",
    ],
    "Markdown": ["](", "[", "(", "``", "```\n", "```\r\n", "\\[", "**", "__"],
}


class TextMaker:
    """Makes texts in one format, the same ones for the same seed.

    Args:
        mode: the Bot API's parse mode.
        seed: of the chance.
    """

    def __init__(self, mode: str, seed: int) -> None:
        self._mode = mode
        self._chance = random.Random(seed)

    def make(self) -> str:
        """Make a text: half of them well-formed, with one mark changed, or a heap."""
        kind = self._chance.random()
        if kind < 0.5:
            return self.make_tree()
        return self._make_broken() if kind < 0.8 else self._make_heap()

    def make_tree(self, depth: int = 3, most: int = 8) -> str:
        """Make a text whose marks are nested and closed.

        Args:
            depth: of the marks.
            most: how often a word or character is repeated at most.
        """
        chance = self._chance
        pieces = []
        for _ in range(chance.randint(1, 5)):
            if depth and chance.random() < 0.45:
                opening, closing = chance.choice(_PAIRS[self._mode])
                space = "\r" if self._mode != "HTML" and chance.random() < 0.7 else ""
                inner = self.make_tree(depth - 1, most)
                pieces.append(f"{opening}{space}{inner}{space}{closing}")
            else:
                atom = chance.choice(_PLAIN + _ATOMS[self._mode])
                pieces.append(atom * chance.randint(1, most))
        return "".join(pieces)

    def _make_broken(self) -> str:
        chance = self._chance
        text = self.make_tree()
        for _ in range(chance.randint(1, 2)):
            at = chance.randint(0, len(text))
            cut = chance.choice([0, 1, 3])
            text = text[:at] + chance.choice(self._marks()) + text[at + cut :]
        return text

    def _make_heap(self) -> str:
        pieces = self._marks() + _PLAIN + _ATOMS[self._mode]
        return "".join(self._chance.choices(pieces, k=self._chance.randint(1, 12)))

    def _marks(self) -> list[str]:
        marks = [mark for pair in _PAIRS[self._mode] for mark in pair]
        return marks + _ODD[self._mode]
