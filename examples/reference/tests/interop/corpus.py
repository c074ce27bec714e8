"""Delivers a generated MIME corpus by LMTP and reads it back by IMAP and by POP3, octet for octet."""
import imaplib
import poplib
import random
import smtplib
import ssl
import sys

user, password, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
lmtp_port, imaps_port, pop3s_port, imap_port = map(int, sys.argv[4:8])
unverified = ssl._create_unverified_context()
poplib._MAXLINE = 1 << 20


def leaf(rng, depth):
    kind = rng.randrange(6)
    if kind == 0:
        body = "".join(rng.choice("abc .\té\u4e2d") for _ in range(rng.randrange(400))).encode()
        return b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n", lines(rng, body)
    if kind == 1:
        return b"Content-Type: text/html; charset=iso-8859-1\r\n", lines(rng, bytes(rng.randrange(160, 255) for _ in range(80)))
    if kind == 2:
        return b"Content-Type: application/octet-stream; name=x.bin\r\nContent-Transfer-Encoding: base64\r\n", lines(
            rng, bytes(rng.choice(b"ABCDEFGHIJabcdefghij0123456789+/") for _ in range(rng.randrange(3000))))
    if kind == 3:
        return b"", b".\r\n..\r\n.leading dot\r\n\r\n-- \r\n.\r\n"
    if kind == 4:
        return b"Content-Type: text/plain\r\n", b"x" * rng.randrange(2000) + b"\r\n"
    return b"Content-Type: message/rfc822\r\n", message(rng, depth + 1)


def lines(rng, octets):
    out = []
    while octets:
        take = rng.randrange(1, 77)
        out.append(octets[:take])
        octets = octets[take:]
    return b"".join(line.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n" for line in out)


def part(rng, depth):
    if depth < 4 and rng.random() < 0.4:
        boundary = b"b%d" % rng.randrange(10**rng.randrange(1, 12))
        children = b"".join(
            b"--" + boundary + b"\r\n" + header + b"\r\n" + body + b"\r\n"
            for header, body in (part(rng, depth + 1) for _ in range(rng.randrange(1, 4))))
        end = b"--" + boundary + b"--\r\n" if rng.random() < 0.9 else b""
        kind = rng.choice([b"mixed", b"alternative", b"related", b"digest"])
        return b"Content-Type: multipart/" + kind + b"; boundary=\"" + boundary + b"\"\r\n", b"preamble\r\n" + children + end
    return leaf(rng, depth)


def message(rng, depth=0):
    header, body = part(rng, depth)
    subject = rng.choice([b"plain", b"=?utf-8?B?w6TDtsO8?=", "ä raw".encode(), b"folded\r\n\tsubject", b""])
    return (b"From: Sender <s@example.net>\r\nTo: \"A, B\" <a@example.org>, c@example.org\r\nSubject: " + subject +
            b"\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%d@example.net>\r\nMIME-Version: 1.0\r\n" %
            rng.randrange(10**9) + header + b"\r\n" + body)


def payload(stored):
    """What was sent, without the trace fields that delivery put in front."""
    return stored[stored.index(b"From: Sender"):]


rng = random.Random(20261121)
sent = [message(rng) for _ in range(count)]

with smtplib.LMTP("127.0.0.1", lmtp_port) as lmtp:
    lmtp.ehlo_or_helo_if_needed()
    for octets in sent:
        assert lmtp.docmd("MAIL FROM:<s@example.net> BODY=8BITMIME")[0] == 250
        assert lmtp.docmd("RCPT TO:<%s>" % user)[0] == 250
        assert lmtp.docmd("DATA")[0] == 354
        stuffed = (b"\r\n" + octets).replace(b"\r\n.", b"\r\n..")[2:]
        lmtp.send(stuffed + b".\r\n")
        assert lmtp.getreply()[0] == 250

imap = imaplib.IMAP4_SSL("127.0.0.1", imaps_port, ssl_context=unverified)
imap.login(user, password)
assert int(imap.select("INBOX", readonly=True)[1][0]) == count
by_imap = []
for first in range(1, count + 1, 50):
    _, data = imap.fetch("%d:%d" % (first, min(first + 49, count)), "(RFC822.SIZE BODY.PEEK[] ENVELOPE BODYSTRUCTURE)")
    for item in data:
        if isinstance(item, tuple):
            size = int(item[0].split(b"RFC822.SIZE ")[1].split(b" ")[0]) if b"RFC822.SIZE" in item[0] else None
            assert size is None or size == len(item[1]), (item[0], len(item[1]))
            if b"BODY[]" in item[0]:
                by_imap.append(item[1])
imap.logout()

pop3 = poplib.POP3_SSL("127.0.0.1", pop3s_port, context=unverified)
pop3.utf8()  # otherwise header fields beyond ASCII would be encoded (RFC 6856)
pop3.user(user)
pop3.pass_(password)
assert pop3.stat()[0] == count
sizes = [int(line.split()[1]) for line in pop3.list()[1]]
assert len(set(line.split()[1] for line in pop3.uidl()[1])) == count
by_pop3 = []
for number in range(1, count + 1):
    octets = b"".join(line + b"\r\n" for line in pop3.retr(number)[1])
    assert len(octets) == sizes[number - 1], (number, len(octets), sizes[number - 1])
    by_pop3.append(octets)
pop3.quit()

for number, octets in enumerate(sent):
    assert payload(by_imap[number]) == octets, "IMAP: message %d differs" % (number + 1)
    assert payload(by_pop3[number]) == octets, "POP3: message %d differs" % (number + 1)

starttls = imaplib.IMAP4("127.0.0.1", imap_port)
starttls.starttls(unverified)
starttls.login(user, password)
starttls.select("INBOX")
assert starttls.fetch("1", "(BODY.PEEK[])")[1][0][1] == by_imap[0]
starttls.logout()
print("%d messages identical by IMAP and POP3" % count)
