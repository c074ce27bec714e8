#!/usr/bin/env python3
"""Runs generated scripts on generated messages through our `sieve-test` and Pigeonhole's, and compares what they would do.

    run.py OURS [COUNT] [SEED]

OURS is the binary `sieve-test` of this crate (feature `cli`). Pigeonhole's `sieve-test` is looked for in PATH; Debian has it in
`dovecot-sieve`. Differences are printed with the script and message; the exit code says whether there were any.
"""

import os
import random
import re
import subprocess
import sys
import tempfile

CONFIG = """base_dir = {0}/run
state_dir = {0}/state
log_path = /dev/stderr
ssl = no
mail_uid = 65534
mail_gid = 65534
first_valid_uid = 1
mail_location = maildir:{0}/mail
recipient_delimiter = +
plugin {{
  sieve = {0}/none.sieve
  sieve_extensions = +editheader
}}
"""

EXTENSIONS = [
    "fileinto", "copy", "envelope", "subaddress", "variables", "relational", "regex", "imap4flags", "body", "date", "index",
    "encoded-character", "mime", "foreverypart", "extracttext", "comparator-i;ascii-numeric", "editheader", "reject",
    "environment", "mailbox",
]

WORDS = ["tea", "Tea", "TEA time", "café", "x", "", "10", "9", "abc123", "[list] more tea", "a*b", "a?b", "\\\\*", "ann@example.org"]
HEADERS = ["subject", "Subject", "from", "to", "cc", "x-number", "x-empty", "x-none", "x-two", "list-id", "received"]
ADDRESS_HEADERS = ["from", "to", "cc", "sender", "reply-to", "resent-to"]
# No pattern has a `?`: Pigeonhole of Debian 12 takes "?ea*" to match "ann".
PATTERNS = ["*", "*tea*", "t*a*", "[*] *", "*@*", "a*b*", "*é", "", "*1*3", "\\\\**", "*<*>*"]
REGEXES = ["tea", "^t.a", "(t)(e)(a)", "[0-9]+", "(a|b)c*", "x?$", "^$", "@example[.]org"]


def quote(text):
    return '"' + text.replace('"', '\\"') + '"'


def strings(random, words, most=3):
    count = random.randint(1, most)
    chosen = [quote(random.choice(words)) for _ in range(count)]
    return chosen[0] if count == 1 and random.random() < 0.7 else "[" + ", ".join(chosen) + "]"


def match(random):
    """A match type with its comparator, and a list of keys."""
    kind = random.choice([":is", ":is", "", ":contains", ":contains", ":matches", ":matches", ":regex", ":value", ":count"])
    comparator = random.choice(["", "", ':comparator "i;octet"', ':comparator "i;ascii-casemap"'])
    words = WORDS
    if kind == ":matches":
        words = PATTERNS
    elif kind == ":regex":
        words = REGEXES
    elif kind in (":value", ":count"):
        relation = random.choice(["gt", "ge", "lt", "le", "eq", "ne"])
        kind = f'{kind} "{relation}"'
        words = ["0", "1", "2", "3", "9", "10", "tea"]
        if random.random() < 0.7 or ":count" in kind:
            comparator = ':comparator "i;ascii-numeric"'
    return f"{kind} {comparator}".strip(), strings(random, words)


def test(random, depth=0):
    kinds = ["header"] * 5 + ["address"] * 4 + ["envelope"] * 2 + ["exists", "size", "string", "body", "date", "hasflag", "true", "mime"]
    if depth < 2:
        kinds += ["not", "allof", "anyof"] * 2
    kind = random.choice(kinds)
    how, keys = match(random)
    part = random.choice(["", "", ":all", ":localpart", ":domain", ":user", ":detail"])
    if kind == "not":
        return "not " + test(random, depth + 1)
    if kind in ("allof", "anyof"):
        return kind + " (" + ", ".join(test(random, depth + 1) for _ in range(random.randint(1, 3))) + ")"
    if kind == "header":
        # Pigeonhole of Debian 12 counts no field at all where there is an index.
        index = random.choice(["", "", "", ":index 1", ":index 2", ":index 1 :last"]) if ":count" not in how else ""
        return f"header {how} {index} {strings(random, HEADERS)} {keys}"
    if kind == "address":
        return f"address {how} {part} {strings(random, ADDRESS_HEADERS)} {keys}"
    if kind == "envelope":
        return f"envelope {how} {part} {strings(random, ['from', 'to'])} {keys}"
    if kind == "exists":
        return f"exists {strings(random, HEADERS)}"
    if kind == "size":
        return f"size {random.choice([':over', ':under'])} {random.choice([0, 100, 300, 400, 500, '1K', '1M'])}"
    if kind == "string":
        # Pigeonhole of Debian 12 compares octets here if no comparator is named, against RFC 5228 §2.7.3.
        how = how if ":comparator" in how else f'{how} :comparator "i;ascii-casemap"'
        return f"string {how} {strings(random, ['${a}', '${1}', '${0}', '${b}${a}', 'tea', ''])} {keys}"
    if kind == "body":
        transform = random.choice([":raw", ':content "text"', ':content "text/html"', ':content "image"'])
        if ":regex" in how or ":value" in how or ":count" in how:
            how, keys = ":contains", strings(random, ["tea", "html", "Bcafé", "line", "zzz"])
        return f"body {transform} {how} {keys}"
    if kind == "date":
        what = random.choice(["year", "month", "day", "hour", "minute", "weekday", "date", "zone", "julian"])
        zone = random.choice([":originalzone", ':zone "+0200"', ':zone "-0530"'])
        if "comparator" in how and "numeric" in how:
            return f'date {how} {zone} "date" "{what}" {keys}'
        return f'date :matches {zone} "date" "{what}" {strings(random, ["*0*", "2*", "*:*", "-*", "1", "*"])}'
    if kind == "hasflag":
        return f"hasflag {how} {strings(random, ['a', 'b', chr(92) * 2 + 'Seen', '1'])}"
    if kind == "mime":
        option = random.choice([":type", ":subtype", ":contenttype", ':param "charset"', ""])
        child = random.choice(["", ":anychild"])
        words = ["text", "plain", "multipart", "text/html", "utf-8", "image"]
        return f'header :mime {child} {option} {random.choice([":is", ":contains"])} "content-type" {strings(random, words)}'
    return random.choice(["true", "false"])


def command(random, depth=0):
    kinds = ["fileinto"] * 4 + ["redirect", "set", "set", "keep", "discard", "flag", "flag", "stop", "addheader", "deleteheader"]
    if depth < 2:
        kinds += ["if"] * 6 + ["every"]
    kind = random.choice(kinds)
    pad = "  " * depth
    if kind == "if":
        text = f"{pad}if {test(random)} {{\n{block(random, depth + 1)}{pad}}}"
        if random.random() < 0.3:
            text += f" elsif {test(random)} {{\n{block(random, depth + 1)}{pad}}}"
        if random.random() < 0.4:
            text += f" else {{\n{block(random, depth + 1)}{pad}}}"
        return text + "\n"
    if kind == "every":
        return f"{pad}foreverypart {{ if header :mime :contains \"content-type\" \"html\" {{ set \"a\" \"html\"; break; }} }}\n"
    if kind == "fileinto":
        flags = random.choice(["", "", ':flags "\\\\Flagged" '])
        # A mailbox is always or never with `:copy`: where it is both, Pigeonhole keeps the message (docs/sieve.md).
        mailbox, copy = random.choice([
            ("Tea", ""), ("INBOX", ":copy "), ("lists.a", ""), ("x-${1}", ":copy "), ("y-${a}", ""), ("z-${2}-${0}", ":copy "),
        ])
        return f'{pad}fileinto {copy}{flags}"{mailbox}";\n'
    if kind == "redirect":
        target = random.choice(['"a@b.example"', ':copy "c@d.example"'])
        return f"{pad}redirect {target};\n"
    if kind == "set":
        modifier = random.choice(["", ":lower ", ":upper ", ":length ", ":upperfirst ", ":lowerfirst ", ":quotewildcard ", ":upperfirst :lower "])
        return f'{pad}set {modifier}"{random.choice("ab")}" {quote(random.choice(WORDS + ["${1}", "${a}${b}", "${0}", "${2}x"]))};\n'
    if kind == "flag":
        action = random.choice(["setflag", "addflag", "removeflag"])
        return f"{pad}{action} {strings(random, ['a', 'b', 'a b', chr(92) * 2 + 'Seen', 'x'])};\n"
    if kind == "addheader":
        return f'{pad}addheader {random.choice(["", ":last "])}"{random.choice(["X-Number", "X-Two", "Subject"])}" "{random.choice(["tea", "10", "new"])}";\n'
    if kind == "deleteheader":
        return f'{pad}deleteheader "{random.choice(["X-Number", "X-Two", "Subject", "X-None"])}";\n'
    return f"{pad}{kind};\n"


def block(random, depth):
    return "".join(command(random, depth) for _ in range(random.randint(1, 3)))


def script(random):
    required = "require [" + ", ".join(f'"{name}"' for name in EXTENSIONS) + "];\n"
    return required + "".join(command(random) for _ in range(random.randint(1, 6)))


def message(random):
    lines = []
    people = ["ann@example.org", "Ann <ann@Example.org>", "bob+tea@example.com", '"a b" <c@d.example>', "x@y.example, z+q@y.example"]
    subjects = ["tea", "[list] more tea", "TEA time", "=?utf-8?q?caf=C3=A9?=", "  spaced  ", "", "a*b", "10", "folded\n tea"]
    for name, values in [
        ("From", people), ("To", people), ("Cc", people), ("Subject", subjects), ("X-Number", ["10", "9", "010", "abc"]),
        ("X-Empty", [""]), ("X-Two", ["one", "two"]), ("X-Two", ["tea", "two"]), ("List-Id", ["Tea <tea.example.org>"]),
        ("Received", ["from a by b; Mon, 2 Mar 2026 10:00:00 +0000"]), ("Sender", people),
    ]:
        if random.random() < 0.75:
            lines.append(f"{name}: {random.choice(values)}")
    if random.random() < 0.8:
        lines.append("Date: " + random.choice(["Mon, 2 Mar 2026 10:11:12 +0100", "Sun, 1 Feb 2015 23:59:59 -0800", "1 Jan 2000 00:00 +0000"]))
    if random.random() < 0.4:
        lines += [
            "MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: text/plain; charset=utf-8", "",
            random.choice(["tea for two", "café line", ""]), "--b", "Content-Type: text/html", "Content-Transfer-Encoding: base64", "",
            random.choice(["PGI+dGVhIGh0bWw8L2I+", ""]), "--b--", "",
        ]
    else:
        lines += ["", random.choice(["tea", "a line\nof more", "no", ""]), ""]
    return "\n".join(lines)


def theirs(output):
    """Pigeonhole's actions as a list."""
    actions = []
    for line in output.split("\n"):
        line = line.strip()
        if found := re.match(r"\* store message in folder: (.*)", line):
            actions.append(["store", found[1].strip(), ""])
        elif found := re.match(r"\* redirect message to: <(.*)>", line):
            actions.append(["redirect", found[1], ""])
        elif found := re.match(r"\+ (?:add|set) IMAP flags:? *(.*)", line):
            if actions:
                actions[-1][2] = " ".join(sorted(set(found[1].lower().split())))
    return settled(map(tuple, actions))


def settled(actions):
    """What is stored in INBOX by `fileinto` and by the implicit keep is one message, which Pigeonhole finds out later."""
    actions = sorted(set(actions))
    inbox = [action for action in actions if action[:2] == ("store", "INBOX")]
    return sorted([action for action in actions if action not in inbox] + ([("store", "INBOX", "")] if len(inbox) > 1 else inbox))



def ours(output):
    actions = []
    for line in output.split("\n"):
        flags = ""
        if found := re.search(r" flags \((.*?)\)", line):
            flags = " ".join(sorted(set(found[1].lower().split())))
        if found := re.match(r'fileinto "(.*?)"(?: flags| create| \(changed\)|$)', line):
            actions.append(("store", found[1], flags))
        elif re.match(r"(implicit )?keep", line):
            actions.append(("store", "INBOX", flags))
        elif found := re.match(r'redirect "(.*?)"', line):
            actions.append(("redirect", found[1], ""))
    return sorted(set(actions))


def equal(theirs, ours):
    """Flags of a message in INBOX are not compared where there were several stores."""
    without = lambda actions: [action[:2] if action[:2] == ("store", "INBOX") else action for action in actions]
    return theirs == ours or (("store", "INBOX", "") in theirs and without(theirs) == without(ours))


def run(arguments):
    # Pigeonhole's says nothing of what it would do where this is not allowed to write its binary.
    done = subprocess.run(arguments, capture_output=True, timeout=60)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def main():
    binary = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    generator = random.Random(seed)
    different = failed = 0
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        config = os.path.join(directory, "dovecot.conf")
        with open(config, "w") as file:
            file.write(CONFIG.format(directory))
        for number in range(count):
            text, mail = script(generator), message(generator)
            # A name of its own for each: Pigeonhole keeps compiled scripts beside them by time of change.
            script_path, mail_path = os.path.join(directory, f"{number}.sieve"), os.path.join(directory, "message.eml")
            for path, content in [(script_path, text), (mail_path, mail)]:
                with open(path, "w", newline="") as file:
                    file.write(content.replace("\n", "\r\n"))
                os.chmod(path, 0o644)
            envelope = ["-f", "ann@example.org", "-a", "bob+tea@example.com"]
            code, out, errors = run(["sieve-test", "-C", "-c", config, "-r", "bob+tea@example.com", *envelope, script_path, mail_path])
            our_code, our_out, our_errors = run([binary, "run", *envelope, script_path, mail_path])
            os.unlink(script_path)
            they_fail, we_fail = code != 0 or "error:" in errors, our_code != 0
            failed += they_fail
            same = they_fail == we_fail and (they_fail or equal(theirs(out), ours(our_out)))
            if not same:
                different += 1
                print(f"=== {number}\n{text}\n--- message\n{mail}\n--- theirs {code}\n{theirs(out)}\n{errors}--- ours {our_code}\n{ours(our_out)}\n{our_out}{our_errors}")
    print(f"{count} scripts, {failed} refused by Pigeonhole, {different} differences")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
