#!/usr/bin/env python3
"""What `kaphila dtmf` finds in a labelled set, by kind of cell.

    scripts/lib/dtmf_score.py FOLDER            FOLDER/labels.tsv: file, expect (accept, goal, reject, none,
                                                grey) and digits, a line a file
    scripts/lib/dtmf_score.py --none LIST       LIST: paths of files without any key, beside it or absolute

Prints each file that is not as expected, then for each kind: files without a fault, digits missing and too
many. Exit 1 where an accept cell has a fault, or a key was heard where there is none.
"""

import csv
import json
import os
import subprocess
import sys

TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.expanduser("~/.cache/kaphila/target"))
KAPHILA = os.environ.get("KAPHILA_BINARY", f"{TARGET}/release/kaphila")


def heard(files):
    """The digits in each file."""
    found = {}
    for at in range(0, len(files), 100):
        command = [KAPHILA, "dtmf", "--json", *files[at:at + 100]]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        found |= {line["file"]: line["digits"] for line in map(json.loads, lines)}
    return found


def faults(expected, found):
    """Digits missing and too many, in the alignment with the fewest."""
    row = [0] * (len(found) + 1)
    for want in expected:
        before = row
        row = [0]
        for at, got in enumerate(found):
            row.append(before[at] + 1 if want == got else max(before[at + 1], row[at]))
    return len(expected) - row[-1], len(found) - row[-1]


def labelled(folder):
    with open(os.path.join(folder, "labels.tsv"), newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    found = heard([os.path.join(folder, row["file"]) for row in rows])
    kinds, failed = {}, False
    for row in rows:
        digits = found[os.path.join(folder, row["file"])]
        kind, wanted = row["expect"], row["digits"]
        if kind in ("reject", "none"):
            wanted = ""
        missing, extra = faults(wanted, digits)
        kinds.setdefault(kind, []).append((len(wanted), missing, extra))
        if (missing or extra) and kind != "grey":
            print(f"{kind:7} {row['file']}: {missing} missing, {extra} too many, of {len(wanted)}")
            failed |= kind != "goal"
    for kind, cells in sorted(kinds.items()):
        digits, missing, extra = (sum(column) for column in zip(*cells))
        clean = sum(not (lost or more) for _, lost, more in cells)
        share = f", {100 - 100 * missing / digits:.2f} % found" if digits else ""
        print(f"{kind:7} {clean} of {len(cells)} files without a fault; {digits} digits, {missing} missing, "
              f"{extra} too many{share}")
    return failed


def silent(paths):
    base = os.path.dirname(os.path.abspath(paths))
    with open(paths) as lines:
        files = [os.path.join(base, line.strip()) for line in lines if line.strip()]
    wrong = {file: digits for file, digits in heard(files).items() if digits}
    for file, digits in wrong.items():
        print(f"{file}: {digits}")
    print(f"{len(files)} files, {sum(map(len, wrong.values()))} digits")
    return bool(wrong)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--none":
        sys.exit(silent(sys.argv[2]))
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    sys.exit(labelled(sys.argv[1]))
