"""Mail programs do the same at two IMAP servers: programs.py USER PASSWORD OURS THEIRS FOLDER PROGRAM...

Both ports speak without TLS, both accounts belong to this alone. Each program finds the same mail at both, does the same with it, and must have
told the same and left the same behind: folders, subscriptions, messages, flags."""
import imaplib
import os
import pty
import re
import select
import subprocess
import sys
import time

user, password, our_port, their_port, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]


def connect(port):
    imap = imaplib.IMAP4("127.0.0.1", port)
    imap.login(user, password)
    return imap


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def names(imap, command):
    found = []
    for line in ok(command('""', "*")):
        if line:
            attributes, name = re.match(rb'\(([^)]*)\) "/" (.*)$', line).groups()
            # A level that is there for those below it only may be listed or not.
            if command == imap.lsub or b"\\noselect" not in attributes.lower() and b"\\nonexistent" not in attributes.lower():
                found.append(name.strip(b'"').decode())
    return sorted(found)


def message(number):
    return (b"From: Bob <bob%d@example.net>\r\nTo: alice@example.org\r\nSubject: number %d\r\nDate: Sat, 21 Nov 2026 10:0%d:00 +0000\r\n"
            b"Message-ID: <%d@example.net>\r\n\r\nThis is number %d.\r\n.a line with a dot\r\n" % (number, number, number, number, number))


def fill(port):
    """Six messages in INBOX, two in a folder, and nothing else."""
    imap = connect(port)
    for name in reversed(names(imap, imap.list)):
        if name != "INBOX":
            imap.unsubscribe('"%s"' % name)
            ok(imap.delete('"%s"' % name))
    for name in names(imap, imap.lsub):
        imap.unsubscribe('"%s"' % name)
    ok(imap.select("INBOX"))
    ok(imap.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")) if int(imap.untagged_responses["EXISTS"][-1]) else None
    ok(imap.expunge())
    ok(imap.create("work"))
    ok(imap.subscribe("work"))
    for place, number, flags in [("INBOX", 1, None), ("INBOX", 2, r"(\Seen)"), ("INBOX", 3, r"(\Flagged)"), ("INBOX", 4, r"(\Seen \Answered)"), ("INBOX", 5, None),
                                 ("INBOX", 6, None), ("work", 7, r"(\Seen)"), ("work", 8, None)]:
        ok(imap.append(place, flags, '"21-Nov-2026 10:0%d:00 +0000"' % number, message(number)))
    imap.logout()


def left(port):
    """What there is now: of every folder the messages, each with its flags."""
    imap = connect(port)
    found = {"subscribed": names(imap, imap.lsub)}
    for name in names(imap, imap.list):
        count = int(ok(imap.select('"%s"' % name, readonly=True))[0])
        inside = []
        for number in range(1, count + 1):
            flags = imaplib.ParseFlags(ok(imap.fetch(str(number), "(FLAGS)"))[0])
            octets = ok(imap.fetch(str(number), "(BODY.PEEK[])"))[0][1]
            # What a program puts in to find its message again is another each time.
            octets = re.sub(rb"X-(TUID|OfflineIMAP): [^\r\n]*\r\n", b"", octets)
            inside.append((octets, sorted(flag.lower() for flag in flags if flag != b"\\Recent")))
        found[name] = sorted(inside)
    imap.logout()
    return found


def run(*command, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, **more)
    assert done.returncode == 0, (command, done.returncode, done.stdout.decode("utf-8", "replace"))
    return done.stdout


def write(home, name, text):
    path = os.path.join(home, name)
    with open(path, "w") as file:
        os.chmod(path, 0o600)
        file.write(text)
    return path


def maildir(path):
    """Of every folder of a tree of Maildirs the messages, each with its flags."""
    found = []
    for place, _, files in os.walk(path):
        for name in files if os.path.basename(place) in ("cur", "new") else ():
            with open(os.path.join(place, name), "rb") as file:
                octets = file.read().replace(b"\r\n", b"\n")
            octets = re.sub(rb"X-(TUID|OfflineIMAP): [^\n]*\n", b"", octets)
            flags = "".join(sorted(name.partition(":2,")[2]))
            found.append((os.path.relpath(os.path.dirname(place), path), octets, flags))
    return sorted(found)


class Terminal:
    """A program at a terminal that reads what we type."""

    def __init__(self, home, *command):
        self.shown = b""
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.environ.update(HOME=home, TERM="vt100", LINES="24", COLUMNS="80")
            os.execvp(command[0], command)

    def reads(self, seconds):
        if not select.select([self.terminal], [], [], seconds)[0]:
            return True
        try:
            octets = os.read(self.terminal, 4096)
        except OSError:
            octets = b""
        self.shown += octets
        return bool(octets)

    def sees(self, *texts):
        """Waits until one of these is on the screen, and forgets it with all before it."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for text in texts:
                if text in self.shown:
                    self.shown = self.shown.partition(text)[2]
                    return text
            if not self.reads(0.2):
                break
        raise AssertionError("%r is not shown but %r" % (texts, self.shown))

    def types(self, keys):
        os.write(self.terminal, keys)

    def ends(self):
        while self.reads(60):
            pass
        assert os.waitpid(self.child, 0)[1] == 0, self.shown


def use_imaplib(port, home):
    imap, told = connect(port), []
    ok(imap.create("a"))
    ok(imap.create("a/b"))
    ok(imap.create('"caf&AOk-"'))
    ok(imap.subscribe("a/b"))
    ok(imap.select("INBOX"))
    for key in (["UNSEEN"], ["SUBJECT", '"number 3"'], ["NOT", "FROM", "bob2"], ["SINCE", "1-Jan-2020", "FLAGGED"], ["TEXT", "nowhere"]):
        told.append(ok(imap.search(None, *key)))
    told += [ok(imap.sort("(REVERSE DATE)", "UTF-8", "ALL")), ok(imap.thread("ORDEREDSUBJECT", "UTF-8", "ALL"))]
    ok(imap.store("1:2", "+FLAGS", r"(\Flagged Project)"))
    ok(imap.store("3", "-FLAGS", r"(\Flagged)"))
    ok(imap.copy("1:3", "a"))
    ok(imap.uid("MOVE", imap.uid("SEARCH", "SUBJECT", '"number 4"')[1][0].decode(), "a/b"))
    ok(imap.store("5", "+FLAGS.SILENT", r"(\Deleted)"))
    ok(imap.expunge())
    ok(imap.append('"caf&AOk-"', r"(\Draft)", '"21-Nov-2026 12:00:00 +0000"', message(9)))
    ok(imap.rename("work", "play"))
    # Nobody has seen the last one, which is read now.
    told.append(ok(imap.fetch("4", "(BODY[TEXT])"))[0][1])
    told.append(imap.select("none")[0])
    imap.logout()
    return told


def use_curl(port, home):
    at = "imap://localhost:%d/" % port
    curl = ("curl", "--silent", "--show-error", "--user", "%s:%s" % (user, password))
    read = [run(*curl, at + "INBOX;MAILINDEX=%d" % number) for number in range(1, 7)]
    read.append(run(*curl, at + "INBOX;MAILINDEX=2;SECTION=HEADER.FIELDS%20(SUBJECT)"))
    read.append(run(*curl, at + "INBOX?SUBJECT%20five%20OR%20SUBJECT%20%225%22%20FLAGGED"))
    run(*curl, "--request", "CREATE curled", at)
    run(*curl, "--request", "STORE 5 +FLAGS (\\Flagged)", at + "INBOX")
    run(*curl, "--request", "COPY 3:4 curled", at + "INBOX")
    with open(os.path.join(home, "message"), "wb") as file:
        file.write(message(9))
    run(*curl, "--upload-file", file.name, at + "curled")
    return read


def use_imapfilter(port, home):
    script = ("options.timeout = 60\noptions.create = true\noptions.subscribe = true\noptions.starttls = false\n"
              "account = IMAP { server = 'localhost', port = %d, username = '%s', password = '%s' }\n"
              "print(#account.INBOX:select_all(), #account.INBOX:is_unseen(), #account.INBOX:is_flagged(), #account.INBOX:match_body('number [12]'))\n"
              "some = account.INBOX:contain_subject('NUMBER 1') + account.INBOX:contain_subject('number 2')\n"
              "some:move_messages(account['sorted/first'])\n"
              "bob = account.INBOX:contain_from('bob3') + account.INBOX:is_answered()\n"
              "bob:mark_flagged()\nbob:add_flags({ '$Work' })\nbob:copy_messages(account['sorted/second'])\n"
              "account.INBOX:contain_subject('number 5'):delete_messages()\n"
              "account:subscribe_mailbox('sorted/second')\n" % (port, user, password))
    told = run("imapfilter", "-c", write(home, "filter.lua", script), env=dict(os.environ, HOME=home))
    # It shows what the server says for people.
    return re.sub(rb"(\[TRYCREATE\]).*", rb"\1", told)


def use_mbsync(port, home):
    mail = os.path.join(home, "mail")
    os.mkdir(mail)
    config = write(home, "mbsyncrc", "IMAPAccount here\nHost 127.0.0.1\nPort %d\nUser %s\nPass %s\nSSLType None\nAuthMechs LOGIN\n\nIMAPStore far\nAccount here\n\n"
                   "MaildirStore near\nPath %s/\nInbox %s/INBOX\nSubFolders Verbatim\n\nChannel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\n"
                   "SyncState *\n" % (port, user, password, mail, mail))
    sync = ("mbsync", "-c", config, "-a")
    run(*sync)
    first = maildir(mail)
    for place in ("INBOX/cur", "INBOX/new"):
        for name in os.listdir(os.path.join(mail, place)):
            path = os.path.join(mail, place, name)
            with open(path, "rb") as file:
                octets = file.read()
            if b"number 1." in octets:
                os.remove(path)
            elif b"number 2." in octets:
                os.rename(path, os.path.join(mail, "INBOX/cur", name.partition(":")[0] + ":2,FRS"))
    with open(os.path.join(mail, "INBOX/new/1.test.local"), "wb") as file:
        file.write(message(9).replace(b"\r\n", b"\n"))
    run(*sync)
    second = maildir(mail)
    run(*sync)
    return [first, second, maildir(mail)]


def use_offlineimap(port, home):
    mail = os.path.join(home, "mail")
    config = write(home, "offlineimaprc", "[general]\naccounts = a\nmetadata = %s/meta\nmaxsyncaccounts = 1\n[Account a]\nlocalrepository = l\nremoterepository = r\n"
                   "[Repository l]\ntype = Maildir\nlocalfolders = %s\n[Repository r]\ntype = IMAP\nremotehost = localhost\nremoteport = %d\nremoteuser = %s\n"
                   "remotepass = %s\nssl = no\nstarttls = no\n" % (home, mail, port, user, password))
    sync = ("offlineimap", "-u", "basic", "-o", "-c", config)
    environment = dict(os.environ, HOME=home)
    run(*sync, env=environment)
    first = maildir(mail)
    for place in ("INBOX/cur", "INBOX/new"):
        for name in os.listdir(os.path.join(mail, place)):
            path = os.path.join(mail, place, name)
            with open(path, "rb") as file:
                octets = file.read()
            if b"number 1." in octets:
                os.remove(path)
            elif b"number 2." in octets:
                os.rename(path, os.path.join(mail, "INBOX/cur", name.partition(":")[0] + ":2,FS"))
    run(*sync, env=environment)
    return [first, maildir(mail)]


def use_mutt(port, home):
    saved = os.path.join(home, "saved")
    config = write(home, "muttrc", 'set imap_user="%s"\nset imap_pass="%s"\nset ssl_starttls=no\nset ssl_force_tls=no\nset folder="%s"\nset header_cache=""\n'
                   "set confirmappend=no\nset confirmcreate=no\nset delete=yes\nset mbox_type=mbox\nset sleep_time=0\nset wait_key=no\nset sort=mailbox-order\nset copy=no\n"
                   'push "1<enter-command>set resolve=no<enter><copy-message>%s<enter>2<enter><flag-message>3<enter><delete-message>'
                   '4<enter><save-message>imap://localhost:%d/muttered<enter><sync-mailbox><quit>"\n' % (user, password, home, saved, port))
    terminal = Terminal(home, "mutt", "-n", "-F", config, "-f", "imap://localhost:%d/INBOX" % port)
    terminal.ends()
    with open(saved, "rb") as file:
        return re.sub(rb"^From [^\n]*\n", b"", file.read())


def use_alpine(port, home):
    place = "{localhost:%d/notls/user=%s}" % (port, user)
    config = write(home, "pinerc", 'personal-name=Alice\nuser-domain=example.org\ninbox-path=%sINBOX\nfolder-collections=Mail %s[]\nlast-version-used=9.99\ndefault-fcc=""\n'
                   "sort-key=Arrival\nfeature-list=disable-password-file-saving,quit-without-confirm,expunge-without-confirm,enable-flag-cmd\n" % (place, place))
    terminal = Terminal(home, "sh", "-c", "stty rows 24 cols 80; exec alpine -p %s -i" % config)
    terminal.sees(b"PASSWORD")
    terminal.types(password.encode() + b"\r")
    # The first that is new is at hand. The latter if it took long enough for a note that it is busy.
    terminal.sees(b"number 6")
    terminal.sees(b"opened with 6 messages", b"DONE]")
    terminal.types(b"\r")
    terminal.sees(b"This is number 1.")
    terminal.types(b"d")
    terminal.sees(b"This is number 2.")
    terminal.types(b"d")
    terminal.sees(b"This is number 3.")
    terminal.types(b"q")
    terminal.ends()


PROGRAMS = {name[4:]: use for name, use in list(globals().items()) if name.startswith("use_")}


def is_parent_alone(place, one, other):
    """Whether a server has an empty folder because of those below it: RFC 9051 §6.3.4 lets it choose."""
    return one.get(place) == [] and place not in other and any(below.startswith(place + "/") for below in other)


wrong = []
for name in sys.argv[6:]:
    results = []
    for server, port in (("ours", our_port), ("theirs", their_port)):
        fill(port)
        home = os.path.join(folder, name + "-" + server)
        os.mkdir(home)
        told = PROGRAMS[name](port, home)
        results.append((told, left(port)))
    (told, ours), (told_there, theirs) = results
    if told != told_there:
        wrong.append("%s is told\n  %r\nand there\n  %r" % (name, told, told_there))
    for place in sorted(ours.keys() | theirs.keys()):
        if ours.get(place) != theirs.get(place) and not is_parent_alone(place, ours, theirs):
            wrong.append("%s leaves in %s\n  %r\nand there\n  %r" % (name, place, ours.get(place), theirs.get(place)))
    print("%s: %d folders, %d messages" % (name, len(ours) - 1, sum(map(len, ours.values())) - len(ours["subscribed"])))
print("\n".join(wrong))
sys.exit(bool(wrong))
