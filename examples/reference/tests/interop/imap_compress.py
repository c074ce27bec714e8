"""IMAP under COMPRESS=DEFLATE (RFC 4978): sessions, what is pushed, a bomb, and a client that does not read."""
import socket
import ssl
import sys
import time
import zlib

user, password, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Talk:
    def __init__(self, login=True):
        plain = socket.create_connection(("127.0.0.1", port), 60)
        context = ssl._create_unverified_context()
        self.socket = context.wrap_socket(plain)
        self.inflater = self.deflater = None
        self.buffer, self.tag, self.received = b"", 0, 0
        assert self.line().startswith(b"* OK")
        if login:
            self.command("LOGIN %s %s" % (user, password))

    def send(self, octets):
        if self.deflater:
            octets = self.deflater.compress(octets) + self.deflater.flush(zlib.Z_SYNC_FLUSH)
        self.socket.sendall(octets)

    def fill(self):
        octets = self.socket.recv(65536)
        if not octets:
            raise EOFError
        self.received += len(octets)
        self.buffer += self.inflater.decompress(octets) if self.inflater else octets

    def line(self):
        while b"\r\n" not in self.buffer:
            self.fill()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def start(self, command):
        self.tag += 1
        self.send(b"t%d %s\r\n" % (self.tag, command.encode()))

    def finish(self):
        lines = []
        while True:
            line = self.line()
            if line.startswith(b"t%d " % self.tag):
                return lines, line
            lines.append(line)

    def command(self, command, expected=b"OK"):
        self.start(command)
        lines, end = self.finish()
        assert end.split(b" ")[1] == expected, (command, end)
        return lines, end

    def compress(self):
        self.command("COMPRESS DEFLATE")
        assert not self.buffer
        self.inflater, self.deflater = zlib.decompressobj(-15), zlib.compressobj(9, zlib.DEFLATED, -15)


# Announced after login only, and not once it is on.
talk = Talk(login=False)
assert b"COMPRESS=DEFLATE" not in b" ".join(talk.command("CAPABILITY")[0])
talk.command("COMPRESS DEFLATE", b"BAD")
talk.command("LOGIN %s %s" % (user, password))
assert b"COMPRESS=DEFLATE" in b" ".join(talk.command("CAPABILITY")[0])
talk.compress()
assert b"COMPRESS=DEFLATE" not in b" ".join(talk.command("CAPABILITY")[0])
# RFC 4978 section 3: once only.
_, end = talk.command("COMPRESS DEFLATE", b"NO")
assert b"[COMPRESSIONACTIVE]" in end, end
talk.command("SELECT INBOX")

# A large message comes back whole, and in fewer octets.
text = b"".join(b"line %d of a text that repeats itself again and again\r\n" % number for number in range(40000))
message = b"Subject: large\r\n\r\n" + text
talk.tag += 1
talk.send(b"t%d APPEND INBOX {%d+}\r\n%s\r\n" % (talk.tag, len(message), message))
assert talk.finish()[1].split(b" ")[1] == b"OK"
before = talk.received
talk.start("FETCH 1 BODY.PEEK[]")
while b"}\r\n" not in talk.buffer:
    talk.fill()
head, _, talk.buffer = talk.buffer.partition(b"\r\n")
length = int(head[head.rindex(b"{") + 1 : -1])
while len(talk.buffer) < length:
    talk.fill()
assert talk.buffer[:length] == message
talk.buffer = talk.buffer[length:]
assert talk.finish()[1].split(b" ")[1] == b"OK"
assert talk.received - before < length // 4, (talk.received - before, length)

# What happens elsewhere is pushed during IDLE: nothing hangs in the compressor.
talk.start("IDLE")
assert talk.line().startswith(b"+")
other = Talk()
other.tag += 1
other.send(b"t%d APPEND INBOX {7+}\r\n\r\nhello\r\n" % other.tag)
other.finish()
talk.socket.settimeout(10)
assert talk.line() == b"* 2 EXISTS"
talk.send(b"DONE\r\n")
talk.finish()

# A row of pipelined commands.
for number in range(200):
    talk.send(b"p%d NOOP\r\n" % number)
for number in range(200):
    while not talk.line().startswith(b"p%d OK" % number):
        pass

# 64 MiB of one command in 64 KiB: refused, and nobody else notices.
bomb = Talk()
bomb.compress()
try:
    bomb.send(b"x " + b"A" * (64 << 20) + b"\r\n")
    while True:
        line = bomb.line()
        if b"BAD" in line or b"BYE" in line:
            break
except (EOFError, OSError):
    pass
talk.command("NOOP")

# What is no DEFLATE stream ends the connection.
broken = Talk()
broken.compress()
broken.deflater = None
try:
    broken.send(b"a NOOP\r\n" * 10)
    while True:
        broken.line()
except (EOFError, OSError, zlib.error):
    pass

# Asks for much and reads nothing.
lazy = Talk()
lazy.compress()
lazy.command("EXAMINE INBOX")
for number in range(200):
    lazy.send(b"l%d FETCH 1 BODY.PEEK[]\r\n" % number)
time.sleep(3)
talk.command("NOOP")
talk.command("LOGOUT")
print("ok")
