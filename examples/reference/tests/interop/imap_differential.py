"""The same mail in two IMAP servers, the same questions to both: imap_differential.py USER PASSWORD OURS THEIRS [SEED MESSAGES QUERIES]

Both ports speak without TLS. Prints what differs, by kind. What docs/imap-and-dovecot.md explains is not counted; anything else is an error."""
import collections
import random
import re
import socket
import sys

user, password, our_port, their_port = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
seed, messages, queries = (list(map(int, sys.argv[5:8])) + [20261121, 150, 2000][len(sys.argv[5:8]):])
rng = random.Random(seed)


class Imap:
    """Sends a command and gives the untagged responses as nested lists."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 120)
        self.buffer, self.at, self.tag = b"", 0, 0
        self.response()
        self.command(b"LOGIN %s %s" % (user.encode(), password.encode()))

    def need(self, count):
        while len(self.buffer) - self.at < count:
            octets = self.socket.recv(1 << 18)
            assert octets, "closed"
            self.buffer = self.buffer[self.at:] + octets
            self.at = 0

    def peek(self):
        self.need(1)
        return self.buffer[self.at:self.at + 1]

    def take(self, count):
        self.need(count)
        octets = self.buffer[self.at:self.at + count]
        self.at += count
        return octets

    def line(self):
        while True:
            end = self.buffer.find(b"\r\n", self.at)
            if end >= 0:
                line, self.at = self.buffer[self.at:end], end + 2
                return line
            self.need(len(self.buffer) - self.at + 1)

    def value(self):
        octet = self.peek()
        if octet == b"(":
            self.take(1)
            values = []
            while self.peek() != b")":
                if self.peek() == b" ":
                    self.take(1)
                else:
                    values.append(self.value())
            self.take(1)
            return values
        if octet == b'"':
            self.take(1)
            text = b""
            while True:
                octet = self.take(1)
                if octet == b'"':
                    return text
                text += self.take(1) if octet == b"\\" else octet
        if octet in b"{~":
            if octet == b"~":
                self.take(1)
            self.take(1)
            size = b""
            while self.peek() != b"}":
                size += self.take(1)
            self.take(3)
            return self.take(int(size))
        atom, depth = b"", 0
        while True:
            octet = self.peek()
            if depth == 0 and octet in b" ()\r":
                return None if atom.upper() == b"NIL" else Atom(atom)
            depth += (octet == b"[") - (octet == b"]")
            atom += self.take(1)

    def response(self):
        values = []
        while True:
            octet = self.peek()
            if octet == b"\r":
                self.take(2)
                return values
            if octet == b" ":
                self.take(1)
                continue
            values.append(self.value())
            if len(values) == 2 and values[1] in (b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"):
                return values + [self.line()]

    def send(self, command):
        self.tag += 1
        self.socket.sendall(b"x%d %s\r\n" % (self.tag, command))

    def finish(self):
        responses = []
        while True:
            response = self.response()
            if response[0] == b"x%d" % self.tag:
                return response[1], responses, response
            responses.append(response)

    def command(self, command):
        self.send(command)
        status, responses, end = self.finish()
        assert status == b"OK", (command, end)
        return responses

    def numbers(self, command, word):
        self.send(command)
        status, responses, _ = self.finish()
        if status != b"OK":
            return status
        found = [response[2:] for response in responses if response[1] == word]
        return found[0] if found else None

    def fetch(self, items, numbers=b"1:*"):
        found = {}
        for response in self.command(b"FETCH " + numbers + b" (" + items + b")"):
            if len(response) > 2 and response[2] == b"FETCH":
                pairs = response[3]
                found.setdefault(int(response[1]), {}).update(
                    {bytes(pairs[i]).upper(): pairs[i + 1] for i in range(0, len(pairs), 2)})
        return found


class Atom(bytes):
    pass


CHARSETS = """utf-8 us-ascii iso-8859-1 iso-8859-2 iso-8859-3 iso-8859-4 iso-8859-5 iso-8859-7 iso-8859-8 iso-8859-9 iso-8859-10
 iso-8859-13 iso-8859-14 iso-8859-15 windows-1250 windows-1251 windows-1252 windows-1253 windows-1254 windows-1255 windows-1256
 windows-1257 koi8-r koi8-u gb2312 gbk big5 euc-jp euc-kr shift_jis iso-2022-jp""".split()
WORDS = "tea coffee Stra\u00dfe \u00c9mile caf\u00e9 na\u00efve \u0414\u043e\u043c \u65e5\u672c budget meeting lunch Minutes \u039a\u03b1\u03bb \u0142\u00f3d\u017a".split()


def words(count):
    return " ".join(rng.choice(WORDS) for _ in range(count))


def encodable(count):
    text = words(count)
    for _ in range(20):
        charset = rng.choice(CHARSETS)
        if charset == "big5" and any(0x7f < ord(letter) < 0x4e00 for letter in text):
            continue  # There are several tables of what is not Chinese in it.
        try:
            return charset, text.encode(charset)
        except (UnicodeEncodeError, LookupError):
            pass
    return "utf-8", text.encode()


def word(count):
    import base64
    charset, octets = encodable(count)
    if rng.random() < 0.5:
        return b"=?%s?B?%s?=" % (charset.encode(), base64.b64encode(octets))
    return b"=?%s?Q?%s?=" % (charset.encode(), b"".join(b"=%02X" % octet for octet in octets))


def text_part():
    import base64, quopri
    charset, octets = encodable(rng.randrange(1, 40))
    encoding = rng.choice(["8bit", "base64", "quoted-printable"])
    if encoding == "base64":
        body = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    elif encoding == "quoted-printable":
        body = quopri.encodestring(octets).replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n"
    else:
        body = octets.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n"
    kind = rng.choice([b"plain", b"html"])
    return (b"Content-Type: text/%s; charset=%s\r\nContent-Transfer-Encoding: %s\r\n" %
            (kind, charset.encode(), encoding.encode()), body)


def part(depth):
    if depth < 4 and rng.random() < 0.35:
        boundary = b"b%d" % rng.randrange(10**rng.randrange(1, 9))
        # RFC 2046 5.1.1: a boundary is one whatever stands behind it in its line.
        behind = lambda: rng.choice([b" ", b"\t ", b" x", b"junk", b"-", b": y", b"z" * 3000]) if rng.random() < 0.2 else b""
        children = b"".join(b"--%s%s\r\n%s\r\n%s\r\n" % ((boundary, behind()) + part(depth + 1)) for _ in range(rng.randrange(1, 4)))
        end = b"--%s--%s\r\n" % (boundary, behind()) if rng.random() < 0.9 else b""
        kind = rng.choice([b"mixed", b"alternative", b"related"])
        return b'Content-Type: multipart/%s; boundary="%s"\r\n' % (kind, boundary), b"preamble\r\n" + children + end
    if depth < 3 and rng.random() < 0.15:
        return b"Content-Type: message/rfc822\r\n", message(depth + 1)
    if rng.random() < 0.2:
        import base64
        octets = bytes(rng.randrange(256) for _ in range(rng.randrange(2000)))
        disposition = rng.choice([b"", b"Content-Disposition: attachment; filename=x.bin\r\n", b"Content-ID: <i@x>\r\nContent-Description: a thing\r\n",
                                  b"Content-Language: en, de\r\nContent-Location: http://x/\r\n"])
        return (b'Content-Type: application/octet-stream; name="x y.bin"\r\nContent-Transfer-Encoding: base64\r\n' + disposition,
                base64.encodebytes(octets).replace(b"\n", b"\r\n"))
    if rng.random() < 0.1:
        return b"", b"no type at all\r\n"
    return text_part()


def address():
    local = rng.choice(["ann", "bob", "Carl", "zoe", "dora"]) + str(rng.randrange(9))
    name = rng.choice([b"", b'"A, B" ', b"Plain Name ", word(1) + b" "])
    host = rng.choice(["x.example", "mail.example.net"])
    return name + b"<%s@%s>" % (local.encode(), host.encode()) if name or rng.random() < 0.5 else b"%s@%s" % (local.encode(), host.encode())


def message(depth=0):
    number = rng.randrange(10**6)
    subject = rng.choice([word(2), words(2).encode(), b"tea", b"Re: tea", b"RE: Fwd: tea (fwd)", b"[list] coffee", b"Re: [list] coffee", b"", b"a\r\n folded subject",
                          b"budget %d" % rng.randrange(5), b"Re: budget %d" % rng.randrange(5)])
    header = [b"From: " + address(), b"To: " + b", ".join(address() for _ in range(rng.randrange(1, 4))), b"Subject: " + subject]
    if rng.random() < 0.9:
        header.append(b"Date: %d %s %d %02d:%02d:00 %s" % (rng.randrange(1, 29), rng.choice([b"Jan", b"Jun", b"Nov"]), rng.randrange(1998, 2026), rng.randrange(24), rng.randrange(60), rng.choice([b"+0000", b"-0730", b"+0200"])))
    if rng.random() < 0.9:
        header.append(b"Message-ID: <%d@x.example>" % number)
    if known and rng.random() < 0.5:
        header.append(b"References: " + b" ".join(b"<%d@x.example>" % rng.choice(known) for _ in range(rng.randrange(1, 4))))
    elif known and rng.random() < 0.3:
        header.append(b"In-Reply-To: <%d@x.example>" % rng.choice(known))
    if rng.random() < 0.3:
        header.append(b"Cc: " + address())
    if rng.random() < 0.1:
        header.append(b"Reply-To: friends: " + address() + b", " + address() + b";")
    if rng.random() < 0.2:
        header.append(b"X-Label: " + words(1).encode())
    if depth == 0:
        known.append(number)
    rng.shuffle(header)
    fields, body = part(depth)
    return b"\r\n".join(header) + b"\r\nMIME-Version: 1.0\r\n" + fields + b"\r\n" + body


known = []
mail = [message() for _ in range(messages)]
ours, theirs = Imap(our_port), Imap(their_port)
for number, octets in enumerate(mail):
    date = b"%02d-%s-%d %02d:00:00 +0000" % (rng.randrange(1, 29), rng.choice([b"Feb", b"Aug"]), rng.randrange(2001, 2026), rng.randrange(24))
    flags = b" ".join(flag for flag in (b"\\Seen", b"\\Flagged", b"\\Answered", b"\\Deleted", b"work") if rng.random() < 0.3)
    for server in (ours, theirs):
        server.command(b'APPEND INBOX (%s) "%s" {%d+}\r\n%s' % (flags, date, len(octets), octets))
for server in (ours, theirs):
    server.command(b"EXAMINE INBOX")

differences = collections.defaultdict(list)
asked = collections.Counter()


explained = collections.Counter()
leaf_answers = {}


def explanation(kind, where, one, other):
    """Under which heading of docs/imap-and-dovecot.md a difference is explained."""
    if kind.startswith("BODY[") and one == [None]:
        # Dovecot takes 1.1 for 1 where part 1 has no parts.
        number, item = where
        above = [item]
        while re.search(rb"\.1(\]|\.MIME)", above[-1]):
            above.append(re.sub(rb"\.1(\]|\.MIME)", rb"\1", above[-1], count=1))
        if other in ([b""], [b"\r\n"]) or other in [leaf_answers.get((number, one)) for one in above[1:]]:
            return "Parts that are not there"
    if kind.startswith("SEARCH") and b"NOT " in where and len(re.findall(rb"(?:SMALLER|LARGER) ", where)) > 1:
        return "Sizes below NOT"
    if kind.startswith("SEARCH") and b"NOT " in where and len(re.findall(rb"(?:OLDER|YOUNGER) ", where)) > 1:
        return "Ages below NOT"
    return None


def compare(kind, where, one, other):
    asked[kind] += 1
    if one != other:
        why = explanation(kind, where, one, other)
        if why:
            explained[why] += 1
        else:
            differences[kind].append((where, one, other))


def lower(value):
    if isinstance(value, list):
        return [lower(one) for one in value]
    return value.lower() if isinstance(value, bytes) else value


def parts(structure, path=()):
    """The numbers of all parts, and whether each is a message."""
    if structure and isinstance(structure[0], list):
        for index, child in enumerate(one for one in structure if isinstance(one, list) and one and (isinstance(one[0], list) or (len(one) > 6 and isinstance(one[1], bytes)))):
            yield from parts(child, path + (index + 1,))
        if path:
            yield path, "multipart"
        return
    leaf = path or (1,)
    if structure[0] and structure[0].lower() == b"message" and structure[1].lower() == b"rfc822":
        yield leaf, "message"
        inner = structure[8]
        yield from parts(inner, leaf) if isinstance(inner[0], list) else ((leaf + (1,), "leaf"),)
    else:
        yield leaf, "leaf"


ITEMS = b"RFC822.SIZE INTERNALDATE ENVELOPE BODY BODYSTRUCTURE FLAGS"
a, b = ours.fetch(ITEMS), theirs.fetch(ITEMS)
PARTIALS = (b"", b"<0.10>", b"<7.2000>", b"<99999.5>")
MANY = 40


def sections_of(structure):
    """Those that the message has, some for which it would need other parts, and some that no message has."""
    yield from (b"", b"HEADER", b"TEXT", b"HEADER.FIELDS (Subject From X-None)", b"HEADER.FIELDS.NOT (Subject)", b"1", b"9", b"1.9", b"9.MIME")
    for path, kind in parts(structure):
        name = ".".join(map(str, path)).encode()
        yield from (name, name + b".MIME", name + b".1")
        if kind == "message":
            yield from (name + b".HEADER", name + b".TEXT", name + b".HEADER.FIELDS (Subject X-None)", name + b".HEADER.FIELDS.NOT (Subject)")


def sections(server, number, items):
    """What a server gives for each of these items of a message."""
    found = {}
    for first in range(0, len(items), MANY):
        some = items[first:first + MANY]
        answers = list(server.fetch(b" ".join(some), b"%d" % number)[number].items())
        # Each is named as it was asked for, with the first octet of a partial and nothing of its length.
        assert len(answers) == len(some), (some, answers)
        for item in some:
            name = re.sub(rb"<(\d+)\.\d+>$", rb"<\1>", item.replace(b".PEEK", b""))
            found[item] = [value for key, value in answers if key.replace(b'"', b"").upper() == name.upper()]
    return found


for number in range(1, messages + 1):
    for name in (b"RFC822.SIZE", b"ENVELOPE"):
        compare(name.decode(), number, a[number][name], b[number][name])
    # A day below 10 has a space or a zero before it.
    compare("INTERNALDATE", number, a[number][b"INTERNALDATE"].lstrip(b" 0"), b[number][b"INTERNALDATE"].lstrip(b" 0"))
    for name in (b"BODY", b"BODYSTRUCTURE"):
        compare(name.decode(), number, lower(a[number][name]), lower(b[number][name]))
    names = sorted(set(sections_of(b[number][b"BODYSTRUCTURE"])), key=len)
    items = [b"BODY.PEEK[" + name + b"]" + partial for name in names for partial in PARTIALS]
    one, other = sections(ours, number, items), sections(theirs, number, items)
    leaf_answers.update(((number, item), answer) for item, answer in other.items())
    for item in items:
        assert len(one[item]) == len(other[item]) == 1, (number, item, one[item], other[item])
        compare(re.sub(r"\d+(?=[.\]])", "n", item.decode().replace(".PEEK", "")), (number, item), one[item], other[item])

NEEDLES = ["tea", "CAF\u00c9", "cafe", "stra\u00dfe", "strasse", "STRASSE", "\u0434\u043e\u043c", "\u65e5\u672c", "budget 3", "x.example", "bob", "minutes", "\u039a\u0391\u039b", "nowhere", "a folded", "lunch", "preamble", "no type", "ann1@", "octet", "\u0141\u00d3D\u0179", ""]


def literal(text):
    octets = text.encode()
    return b"{%d+}\r\n%s" % (len(octets), octets)


def key(depth=0):
    kind = rng.randrange(16 if depth < 3 else 12)
    if kind < 3:
        return rng.choice([b"SUBJECT", b"FROM", b"TO", b"CC", b"BODY", b"TEXT"]) + b" " + literal(rng.choice(NEEDLES))
    if kind == 3:
        return b"HEADER %s %s" % (rng.choice([b"X-Label", b"Message-ID", b"References", b"Content-Type", b"Subject"]), literal(rng.choice(NEEDLES)))
    if kind == 4:
        return rng.choice([b"SEEN", b"UNSEEN", b"FLAGGED", b"UNFLAGGED", b"ANSWERED", b"DELETED", b"UNDELETED", b"DRAFT", b"UNDRAFT", b"ALL", b"KEYWORD work", b"UNKEYWORD work"])
    if kind == 5:
        return b"%s %d" % (rng.choice([b"LARGER", b"SMALLER"]), rng.randrange(3000))
    if kind in (6, 7):
        # Where there is no Date field, the RFC does not say what SENTBEFORE means: such messages are left out.
        return b"%s %d-%s-%d" % (rng.choice([b"BEFORE", b"ON", b"SINCE", b"SENTBEFORE", b"SENTON", b"SENTSINCE"]), rng.randrange(1, 29), rng.choice([b"Jan", b"Feb", b"Aug", b"Nov"]), rng.randrange(1998, 2026))
    if kind == 8:
        return b"%d:%d" % (rng.randrange(1, messages + 1), rng.randrange(1, messages + 1))
    if kind == 9:
        return b"UID %d:*" % rng.randrange(1, messages + 1)
    if kind == 10:
        return b"%s %d" % (rng.choice([b"OLDER", b"YOUNGER"]), rng.randrange(1, 10**9))
    if kind == 11:
        return b"SUBJECT tea"
    if kind in (12, 13):
        return b"NOT " + key(depth + 1)
    if kind == 14:
        return b"OR %s %s" % (key(depth + 1), key(depth + 1))
    return b"(" + b" ".join(key(depth + 1) for _ in range(rng.randrange(1, 4))) + b")"


def words_of(command):
    return "SEARCH " + " ".join(sorted(set(re.findall(r"(?<!HEADER Date) (BODY|TEXT|SUBJECT|FROM|TO|CC|HEADER|SENT\w+) ", command.decode("utf-8", "replace"))))[:1])


for _ in range(queries):
    program = b'HEADER Date "" ' + b" ".join(key() for _ in range(rng.randrange(1, 3)))
    command = b"SEARCH CHARSET UTF-8 " + program
    compare(words_of(program), command, ours.numbers(command, b"SEARCH"), theirs.numbers(command, b"SEARCH"))
for name in b"ARRIVAL CC DATE FROM SIZE SUBJECT TO DISPLAYFROM DISPLAYTO".split():
    for command in (b"SORT (%s) UTF-8 ALL" % name, b"SORT (REVERSE %s SIZE) UTF-8 UNDELETED" % name):
        compare("SORT " + name.decode(), command, ours.numbers(command, b"SORT"), theirs.numbers(command, b"SORT"))
for name in b"ORDEREDSUBJECT REFERENCES REFS".split():
    for program in (b"ALL", b"UNSEEN", b"SUBJECT tea"):
        command = b"THREAD %s UTF-8 %s" % (name, program)
        compare("THREAD " + name.decode(), command, ours.numbers(command, b"THREAD"), theirs.numbers(command, b"THREAD"))

for kind in sorted(asked):
    if differences[kind]:
        print("%s: %d of %d differ" % (kind, len(differences[kind]), asked[kind]))
        for where, one, other in differences[kind][:2]:
            print("   ", where, "\n      ours  ", one, "\n      theirs", other)
for why in sorted(explained):
    print("explained: %s: %d" % (why, explained[why]))
print("%d answers compared, %d differ" % (sum(asked.values()), sum(map(len, differences.values()))))
sys.exit(any(differences.values()))
