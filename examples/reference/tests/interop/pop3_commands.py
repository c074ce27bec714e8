"""Every command of Python's poplib, against a maildrop of three messages; one is deleted at the end."""
import poplib
import ssl
import sys

user, password = sys.argv[1], sys.argv[2]
implicit, starttls = map(int, sys.argv[3:5])
unverified = ssl._create_unverified_context()


def refused(call, *arguments):
    try:
        call(*arguments)
    except poplib.error_proto as error:
        assert error.args[0][:4] in (b"-ERR", "-ERR"), error
    else:
        raise AssertionError("%s %s was not refused" % (call.__name__, arguments))


plain = poplib.POP3("127.0.0.1", starttls)
assert plain.getwelcome().startswith(b"+OK")
assert "STLS" in plain.capa() and "SASL" not in plain.capa()
refused(plain.user, user)
refused(plain.apop, user, password)
plain.stls(unverified)
capabilities = plain.capa()
assert "STLS" not in capabilities and "PLAIN" in capabilities["SASL"], capabilities
assert capabilities["UTF8"] == ["USER"] and capabilities["LANG"] == [] and capabilities["EXPIRE"] == ["NEVER"]
plain.utf8()
plain.user(user)
refused(plain.pass_, "wrong")
plain.user(user)
plain.pass_(password)
assert plain.stat()[0] == 3
plain.quit()

client = poplib.POP3_SSL("127.0.0.1", implicit, context=unverified)
client.user(user)
client.pass_(password)
count, octets = client.stat()
sizes = [int(line.split()[1]) for line in client.list()[1]]
assert count == 3 and sum(sizes) == octets
assert client.list(2) == b"+OK 2 %d" % sizes[1]
ids = [line.split()[1] for line in client.uidl()[1]]
assert client.uidl(3) == b"+OK 3 " + ids[2]
response, lines, length = client.retr(1)
assert b".a line with a dot" in lines and b"..and two" in lines and b"." in lines, lines
assert sum(len(line) + 2 for line in lines) == sizes[0]
top = client.top(1, 2)[1]
assert top == lines[:lines.index(b"") + 3], top
refused(client.retr, 4)
refused(client.top, 4, 0)
refused(client.list, 4)
refused(client.uidl, 4)
refused(client.dele, 4)
client.noop()
client.dele(2)
refused(client.retr, 2)
assert client.stat()[0] == 2
client.rset()
assert client.stat() == (count, octets)
assert client.rpop is not None
client.dele(1)
client.quit()

again = poplib.POP3_SSL("127.0.0.1", implicit, context=unverified)
again.user(user)
again.pass_(password)
assert [line.split()[1] for line in again.uidl()[1]] == ids[1:]
again.quit()
