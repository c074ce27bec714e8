"""Every command of imaplib that the server announces, with what must come of it."""
import imaplib
import ssl
import sys
import time

user, password, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
c = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=ssl._create_unverified_context())


def ok(result, *expected):
    assert result[0] == "OK", result
    for text in expected:
        assert any(text in (part if isinstance(part, bytes) else b"".join(part)) for part in result[1] if part), (text, result)
    return result[1]


try:
    c.login(user, "wrong")
    raise AssertionError("a wrong password was taken")
except imaplib.IMAP4.error as error:
    assert "AUTHENTICATIONFAILED" in str(error), error
ok(c.login(user, password))
for name in ("IMAP4REV1", "IDLE", "UIDPLUS", "MOVE", "NAMESPACE", "SPECIAL-USE", "ENABLE", "UNSELECT", "CHILDREN"):
    assert name in [capability.upper() for capability in c.capabilities] or name in str(c.capability()).upper(), name
ok(c.noop())
ok(c.namespace(), b'"/"')
ok(c.list(), b"INBOX")
ok(c.create("work"))
ok(c.create("work/2026"))
ok(c.create('"caf&AOk-"'))
ok(c.subscribe("work"))
ok(c.lsub(), b"work")
ok(c.unsubscribe("work"))
ok(c.list('""', "w*"), b"work/2026")
ok(c.rename("work/2026", "work/2027"))
ok(c.status("INBOX", "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN RECENT)"), b"MESSAGES 1")
ok(c.select("INBOX"), b"1")
ok(c.fetch("1", "(FLAGS UID INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"), b"interop")
ok(c.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"), b"Subject: interop")
ok(c.fetch("1", "(BODY.PEEK[TEXT]<2.5>)"), b"llo,\r")
ok(c.search(None, "UNSEEN"), b"1")
ok(c.fetch("1", "(RFC822)"))
ok(c.search(None, "UNSEEN"))
assert c.search(None, "UNSEEN")[1] == [b""]
ok(c.search(None, "SUBJECT", "interop", "FROM", "bob", "BODY", "dot", "SINCE", "1-Jan-2020"), b"1")
assert c.search(None, "NOT", "TEXT", "hello")[1] == [b""]
ok(c.store("1", "+FLAGS", r"(\Flagged Project)"), b"Project")
ok(c.copy("1", "work"))
ok(c.append("work", r"(\Seen)", imaplib.Time2Internaldate(time.time()), b"Subject: appended\r\n\r\nbody\r\n"))
ok(c.select("work"), b"2")
ok(c.fetch("1:*", "(FLAGS UID)"), b"Project")
ok(c.uid("MOVE", "2", '"caf&AOk-"'))
ok(c.status('"caf&AOk-"', "(MESSAGES)"), b"MESSAGES 1")
ok(c.store("1", "+FLAGS.SILENT", r"(\Deleted)"))
ok(c.expunge(), b"1")
assert c.search(None, "ALL")[1] == [b""]
ok(c.unselect())
ok(c.delete("work/2027"))
ok(c.select("INBOX"))
ok(c.check())
ok(c.close())
c.logout()
