"""The comparison's tables, as Markdown."""

from collections.abc import Callable, Iterable

from benchmarks.figures import Figures, Results, Spread, ratios

OURS = ("memory", "redis")
STRICTEST = ("floor", "floor-uvloop", "grammy", "grammy-lean")
"""Who is hardest to beat: the libraries alone, and what is cheapest without Python."""

FRAMEWORKS = ("aiogram", "grammy", "ptb", "plain")

_MIB = 1024 * 1024


def markdown(results: Results) -> str:
    """Give the whole report."""
    told = results.machine
    parts = [
        "## Processor time per update, as a ratio to the floor",
        headline(results, list(results.loads)),
    ]
    for name in OURS:
        if table := against_strictest(results, name):
            parts += [f"## {results.titles[name]}, beside the strictest", table]
    if table := against_one_worker(results):
        title = "## Processor time per update, as a ratio to the same with one worker"
        parts += [title, table]
    for load in results.loads:
        parts += [f"## {load}", _load(results, load)]
    parts += ["## Memory, and users beside 200 who hang", _others(results)]
    parts += ["## Same work", _work(results)]
    parts += [f"Rounds: {results.rounds}. Medians of rounds (least to most)."]
    parts += ["\n".join(f"- {name}: {value}" for name, value in told.items())]
    return "\n\n".join(parts) + "\n"


def headline(results: Results, loads: list[str], workers: int | None = None) -> str:
    """Compare everybody with the floor; those with so many workers, or all."""
    rows = [
        [results.titles[name], *(_ratio(ratios(results, load, name)) for load in loads)]
        for name in results.titles
        if name in results.loads[loads[0]] and workers in {None, workers_of(name)}
    ]
    return format_table(["", *loads], rows)


def against_strictest(results: Results, name: str) -> str:
    """Compare one of ours with those that are hardest to beat; empty without them."""
    others = [other for other in STRICTEST if other in results.titles]
    if name not in results.titles or not others:
        return ""
    rows = [
        [results.titles[other]]
        + [_ratio(ratios(results, load, name, to=other)) for load in results.loads]
        for other in others
    ]
    return format_table(
        [f"{results.titles[name]}, as a ratio to", *results.loads], rows
    )


def workers_of(name: str) -> int:
    """Tell how many workers an entrant has."""
    return int(name.partition(" x")[2] or 1)


def against_redis(results: Results) -> str:
    """Compare the frameworks with the gateway and Redis."""
    rows = [
        [results.titles[other]]
        + [_ratio(ratios(results, load, other, to="redis")) for load in results.loads]
        for other in FRAMEWORKS
        if {other, "redis"} <= results.titles.keys()
    ]
    return format_table(["", *results.loads], rows) if rows else ""


def against_one_worker(results: Results) -> str:
    """Compare those with several workers with their own one, under the same loads."""
    pairs = [(name, name.partition(" x")[0]) for name in results.titles if " x" in name]
    rows = [
        [results.titles[name]]
        + [_ratio(ratios(results, load, name, to=one)) for load in results.loads]
        for name, one in pairs
        if one in results.titles
    ]
    return format_table(["", *results.loads], rows) if rows else ""


def _load(results: Results, load: str) -> str:
    heads = ["", "CPU us", "Redis us", "per second", "busy %"]
    heads += ["answer p50 ms", "answer p99", "reply p50", "reply p99"]
    columns: list[Callable[[Figures], float]] = [
        lambda it: it.redis_us,
        lambda it: it.per_second,
        lambda it: it.busy * 100,
        lambda it: it.answer_ms[0],
        lambda it: it.answer_ms[1],
        lambda it: it.reply_ms[0],
        lambda it: it.reply_ms[1],
    ]
    rows = []
    for name, rounds in results.loads[load].items():
        cpu = Spread.over([each.cpu_us for each in rounds])
        cells = [_short(Spread.over([get(it) for it in rounds])) for get in columns]
        whole = f"{cpu.middle:,.0f} ({cpu.least:,.0f} to {cpu.most:,.0f})"
        rows.append([results.titles[name], whole, *cells])
    return format_table(heads, rows)


def _others(results: Results) -> str:
    heads = ["", "RSS MiB", "MiB more per 100,000 users", "of Redis"]
    heads += ["p99 ms alone", "p99 beside hanging", "hung at least"]
    alone = results.loads.get("100/s", {})
    rows = []
    for name, memory in results.memory.items():
        row = [results.titles[name], f"{memory.resident / _MIB:.0f}"]
        row += [_per_100_000(memory.own_per_user), _per_100_000(memory.redis_per_user)]
        beside = results.hanging.get(name, [])
        if beside:
            p99 = Spread.over([each.reply_ms[1] for each in alone[name]])
            row.append(_spread(p99))
            row.append(_spread(Spread.over([each.reply_ms[1] for each in beside])))
            row.append(str(min(each.least_hanging for each in beside)))
        else:
            row += ["", "", ""]
        rows.append(row)
    return format_table(heads, rows)


def _work(results: Results) -> str:
    heads = ["", "updates", "messages", "calls", "sessions opened"]
    heads += ["commands of Redis per update"]
    rows = [
        [
            results.titles[name],
            *(f"{it:,}" for it in (work.updates, work.messages, work.calls)),
            f"{work.resolved:,}",
            f"{work.redis_commands / work.updates:.1f}",
        ]
        for name, work in results.work.items()
    ]
    return format_table(heads, rows)


def _per_100_000(added: float | None) -> str:
    return "" if added is None else f"{added * 100_000 / _MIB:.0f}"


def _ratio(it: Spread) -> str:
    return f"**{it.middle:.2f}** ({it.least:.2f} to {it.most:.2f})"


def _spread(it: Spread) -> str:
    return f"{it.middle:,.1f} ({it.least:,.1f} to {it.most:,.1f})"


def _short(it: Spread) -> str:
    return f"{it.middle:,.0f}" if it.middle >= 100 else f"{it.middle:,.1f}"


def format_table(heads: list[str], rows: Iterable[list[str]]) -> str:
    """Give a table that is aligned as text, too."""
    lines = [heads, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    out = []
    for line in (heads, rule, *lines[1:]):
        cells = [line[0].ljust(widths[0])]
        cells += [
            cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)
        ]
        out.append(f"| {' | '.join(cells)} |")
    return "\n".join(out)
