"""Compares what two IMAP servers say about one Maildir: dovecot.py TEST USER PASSWORD OUR-IMAP OUR-LMTP THEIR-IMAP THEIR-LMTP"""
import imaplib, random, re, smtplib, ssl, sys, threading, time

test, user, password = sys.argv[1:4]
our_imap, our_lmtp, their_imap, their_lmtp = map(int, sys.argv[4:8])


def ours():
    c = imaplib.IMAP4_SSL("127.0.0.1", our_imap, ssl_context=ssl._create_unverified_context())
    c.login(user, password)
    return c


def theirs():
    c = imaplib.IMAP4("127.0.0.1", their_imap)
    c.login(user, password)
    return c


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def view(c, box="INBOX"):
    """UIDVALIDITY, UIDNEXT, and UID -> flags, date, size, text."""
    # Not by STATUS: Dovecot's list of mailboxes may be a second behind.
    ok(c.select(box, True))
    numbers = [c.response("UIDVALIDITY")[1][0], c.response("UIDNEXT")[1][0]]
    messages = {}
    for part in c.uid("FETCH", "1:*", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")[1]:
        if not isinstance(part, tuple):
            continue
        head = part[0].decode()
        uid = int(re.search(r"UID (\d+)", head)[1])
        flags = frozenset(re.search(r"FLAGS \(([^)]*)\)", head)[1].split()) - {"\\Recent"}
        date = time.mktime(imaplib.Internaldate2tuple(head.encode()))
        size = int(re.search(r"RFC822.SIZE (\d+)", head)[1])
        assert len(part[1]) == size, (uid, size, len(part[1]))
        messages[uid] = (flags, date, size, part[1])
    return numbers, messages


def same(box="INBOX"):
    a, b = view(ours(), box), view(theirs(), box)
    assert a[0] == b[0], (a[0], b[0])
    assert a[1].keys() == b[1].keys(), sorted(a[1].keys() ^ b[1].keys())
    for uid in a[1]:
        assert a[1][uid] == b[1][uid], (uid, a[1][uid], b[1][uid])
    return a[1]


def lmtp(port, text):
    s = smtplib.LMTP("127.0.0.1", port)
    s.sendmail("bob@example.net", [user], text)
    s.quit()


def message(number, size=100):
    return f"Subject: {number}\r\n\r\n".encode() + (b"x" * 60 + b"\r\n") * (size // 62 + 1)


def turns():
    lmtp(our_lmtp, message("ours 1"))
    lmtp(their_lmtp, message("theirs 1"))
    lmtp(our_lmtp, message("ours 2", 300_000))
    a, b = ours(), theirs()
    ok(b.append("INBOX", "(\\Seen $Forwarded)", '"17-Jul-1996 02:44:25 -0700"', message("theirs 2")))
    ok(a.append("INBOX", "(\\Flagged Work)", '"17-Jul-1997 02:44:25 -0700"', message("ours 3")))
    assert len(same()) == 5
    # Flags and keywords of one are the other's, either way.
    for c in (a, b):
        ok(c.select("INBOX"))
    ok(a.uid("STORE", "1", "+FLAGS", "(\\Answered Later)"))
    ok(b.uid("STORE", "3", "+FLAGS", "(\\Seen Work Other)"))
    ok(a.uid("STORE", "2,4", "+FLAGS", "(Other)"))
    ok(b.uid("STORE", "4", "-FLAGS", "($Forwarded)"))
    seen = same()
    assert seen[1][0] == {"\\Answered", "Later"} and seen[3][0] == {"\\Seen", "Work", "Other"}, seen
    # Whoever has it selected hears of it.
    for c, other in ((a, b), (b, a)):
        count = int(ok(other.select("INBOX"))[0])
        ok(c.append("INBOX", None, None, message("news")))
        for _ in range(40):
            ok(other.noop())
            if int(other.untagged_responses.get("EXISTS", [str(count)])[-1]) > count:
                break
            time.sleep(0.1)
        else:
            raise AssertionError("nothing was told of new mail")
    # Mailboxes, with names that have to be written another way, and subscriptions.
    ok(a.create('"Stra&AN8-e/2024"'))
    ok(b.create('"a b/c&-d"'))
    ok(a.subscribe('"Stra&AN8-e/2024"'))
    ok(b.subscribe('"a b/c&-d"'))
    names = lambda c, lsub: {re.search(rb'"/" (.*)$', line)[1].strip(b'"') for line in ok(c.lsub() if lsub else c.list()) if line and b"Noselect" not in line}
    for lsub in (False, True):
        one, other = names(ours(), lsub), names(theirs(), lsub)
        # Those above are made here, and are only names there.
        assert one - {b"Stra&AN8-e"} == other - {b"Stra&AN8-e"}, (one, other)
    # Copies and moves, of either, into a mailbox of the other.
    ok(a.select("INBOX"))
    ok(a.uid("COPY", "1:3", '"a b/c&-d"'))
    ok(b.select("INBOX"))
    ok(b.uid("COPY", "3:5", '"Stra&AN8-e/2024"'))
    ok(b.uid("MOVE", "4", '"a b/c&-d"'))
    ok(a.uid("MOVE", "5", '"Stra&AN8-e/2024"'))
    assert len(same('"a b/c&-d"')) == 4
    assert len(same('"Stra&AN8-e/2024"')) == 4
    ok(a.uid("STORE", "1", "+FLAGS", "(\\Deleted)"))
    ok(a.expunge())
    ok(b.noop())
    ok(b.uid("STORE", "2", "+FLAGS", "(\\Deleted)"))
    ok(b.expunge())
    assert set(same()) == {3, 6, 7}
    ok(a.append("INBOX", None, None, message("next")))
    assert set(same()) == {3, 6, 7, 8}
    ok(theirs().delete('"a b/c&-d"'))
    assert b"a b/c&-d" not in names(ours(), False)
    ok(ours().rename('"Stra&AN8-e/2024"', '"Stra&AN8-e/2025"'))
    assert len(same('"Stra&AN8-e/2025"')) == 4


def lists():
    """Rights that one gives, the other shows; lists go along with what is made below."""
    def rights(c, box):
        words = ok(c.getacl(box))[0].decode().replace('"', "").split()[1:]
        return {who: "".join(sorted(what)) for who, what in zip(words[::2], words[1::2])}

    ok(ours().setacl("INBOX", "bob@example.org", "lrs"))
    assert rights(theirs(), "INBOX")["bob@example.org"] == "lrs", rights(theirs(), "INBOX")
    ok(theirs().setacl("INBOX", "carol@example.org", "lri"))
    ok(theirs().setacl("INBOX", "-bob@example.org", "s"))
    found = rights(ours(), "INBOX")
    assert (found["bob@example.org"], found["carol@example.org"], found["-bob@example.org"]) == ("lrs", "ilr", "s"), found
    ok(ours().setacl("INBOX", "bob@example.org", "+w"))
    ok(ours().setacl("INBOX", "anyone", "l"))
    found = rights(theirs(), "INBOX")
    assert (found["bob@example.org"], found["carol@example.org"], found["anyone"]) == ("lrsw", "ilr", "l"), found
    ok(theirs().deleteacl("INBOX", "carol@example.org"))
    assert "carol@example.org" not in rights(ours(), "INBOX")
    ok(ours().create("Team"))
    ok(ours().setacl("Team", "$staff", "lr"))
    ok(ours().create("Team/Plans"))
    ok(theirs().create("Team/Notes"))
    for c in (ours(), theirs()):
        assert rights(c, "Team/Plans")["$staff"] == rights(c, "Team/Notes")["$staff"] == "lr"


def crowd():
    """Four at a time: deliveries by both, changes by both. Nothing is lost, and both agree all along."""
    until, failures, delivered, gone, uids = time.time() + 12, [], [], set(), {}
    lock = threading.Lock()

    def deliver(port, name):
        number = 0
        while time.time() < until:
            number += 1
            lmtp(port, message(f"{name}-{number}"))
            with lock:
                delivered.append(f"{name}-{number}")

    def change(connect, seed):
        rng, c = random.Random(seed), connect()
        ok(c.select("INBOX"))
        while time.time() < until:
            ok(c.noop())
            found = {}
            for part in c.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]:
                if isinstance(part, tuple):
                    uid = int(re.search(rb"UID (\d+)", part[0])[1])
                    found[uid] = part[1].decode().split()[1]
            with lock:
                for uid, name in found.items():
                    # A UID is one message for ever, whoever says so.
                    assert uids.setdefault(uid, name) == name, (uid, name, uids[uid])
            for uid in rng.sample(sorted(found), min(6, len(found))):
                flag = rng.choice(["\\Seen", "\\Flagged", "\\Answered", "Work", "Later", "$Junk"])
                c.uid("STORE", str(uid), rng.choice(["+FLAGS", "-FLAGS"]), f"({flag})")
            if len(found) > 20:
                uid = rng.choice(sorted(found))
                with lock:
                    gone.add(found[uid])
                c.uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Deleted)")
                c.expunge()

    def guard(work, *arguments):
        try:
            work(*arguments)
        except BaseException as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=guard, args=args) for args in (
        (deliver, our_lmtp, "ours"), (deliver, their_lmtp, "theirs"), (change, ours, 1), (change, theirs, 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    left = same()
    subject = lambda text: re.search(rb"Subject: (\S+)", text)[1].decode()
    there = [subject(text) for _, _, _, text in left.values()]
    twice = {uid: name for uid, name in zip(left, there) if there.count(name) > 1}
    assert not twice, twice
    lost = set(delivered) - set(there) - gone
    assert not lost, lost
    for uid, (_, _, _, text) in left.items():
        name = subject(text)
        assert uids.get(uid, name) == name, (uid, name)
    print(len(delivered), "delivered,", len(gone), "expunged,", len(left), "left")


{"turns": turns, "lists": lists, "crowd": crowd}[test]()
