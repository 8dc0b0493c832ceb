"""Reads llvm-cov's JSON: lines run by room and file as a table, lines that were not as a file. `cover.py JSON OUT ROOM...`"""

import json
import os
import sys

ROOMS = {"balancers": "balancers/src/", "cache": "cache/src/", "http_cache": "proxy/src/http_cache/"}


def line_counts(file):
    """How often each line ran, by the segments on it: the most of them, as llvm-cov's own figure has it."""
    counts = {}
    active, last = None, 0
    for line, _, count, has_count, _, is_gap in file["segments"]:
        if active is not None:
            for between in range(last + 1, line):
                counts[between] = max(counts.get(between, 0), active)
            counts[line] = max(counts.get(line, 0), active) if line != last else counts.get(line, 0)
        active = count if has_count and not is_gap else None
        if active is not None:
            counts[line] = max(counts.get(line, 0), active)
        last = line
    return counts


def tests_begin(path):
    """The line at which a file's own tests begin: they are no code to be covered."""
    with open(path, encoding="utf-8") as text:
        for number, line in enumerate(text, 1):
            if line.startswith("#[cfg(test)]") or line.startswith("#[cfg(all(test"):
                return number
    return sys.maxsize


def main():
    report, out, rooms = sys.argv[1], sys.argv[2], sys.argv[3:]
    with open(report, encoding="utf-8") as text:
        files = json.load(text)["data"][0]["files"]
    least = float(os.environ.get("COVER_MIN", "95"))
    summary = []
    with open(out, "w", encoding="utf-8") as missed:
        for room in rooms:
            total = ran = 0
            rows = []
            for file in files:
                at = file["filename"].find("/" + ROOMS[room])
                if at < 0:
                    continue
                name = file["filename"][at + 1 :]
                end = tests_begin(file["filename"])
                counts = {line: count for line, count in line_counts(file).items() if line < end}
                not_run = sorted(line for line, count in counts.items() if count == 0)
                total, ran = total + len(counts), ran + len(counts) - len(not_run)
                rows.append((len(not_run), len(counts), name))
                if not_run:
                    with open(file["filename"], encoding="utf-8") as source:
                        lines = source.read().splitlines()
                    missed.writelines(f"{name}:{line}: {lines[line - 1].strip()}\n" for line in not_run)
            per_cent = 100 * ran / total if total else 0.0
            summary.append((room, total, total - ran, per_cent))
            print(f"\n{room}: {per_cent:.1f} % of {total} lines\n\n| not run | of | file |\n|---|---|---|")
            for not_run, lines, name in sorted(rows, reverse=True)[:12]:
                if not_run:
                    print(f"| {not_run} | {lines} | {name} |")
    print("\n| room | lines | not run | run |\n|---|---|---|---|")
    for room, total, not_run, per_cent in summary:
        print(f"| {room} | {total:,} | {not_run:,} | {per_cent:.1f} % |")
    print(f"\nevery line that was not run: {out}")
    poor = [room for room, _, _, per_cent in summary if per_cent < least]
    if poor:
        sys.exit(f"cover: {', '.join(poor)} below {least} % of lines")


main()
