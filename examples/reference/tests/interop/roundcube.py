"""Uses Roundcube as its users do, through its pages: `roundcube.py URL ALICE BOB PASSWORD`. Ends with 0 if all went well."""

import http.cookiejar
import re
import sys
import time
import urllib.parse
import urllib.request
import uuid

base, alice, bob, password = sys.argv[1:5]


class Session:
    """Somebody with a browser, who has logged in."""

    def __init__(self, user):
        cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
        token = re.search(r'name="_token" value="([^"]+)"', self.get("?_task=login")).group(1)
        form = {"_token": token, "_task": "login", "_action": "login", "_timezone": "UTC", "_url": ""}
        page = self.post("?_task=login", {**form, "_user": user, "_pass": password})
        assert '"task":"mail"' in page, said(page)
        self.token = re.search(r'"request_token":"([^"]+)"', page).group(1)

    def open(self, request):
        return self.opener.open(request, timeout=60).read().decode("utf-8", "replace")

    def get(self, query):
        return self.open(base + query)

    def post(self, query, form):
        return self.open(urllib.request.Request(base + query, urllib.parse.urlencode(form).encode()))

    def ask(self, query, form):
        """What a script of the page asks."""
        request = urllib.request.Request(base + query, urllib.parse.urlencode(form).encode())
        request.add_header("X-Requested-With", "XMLHttpRequest")
        request.add_header("X-Roundcube-Request", self.token)
        return self.open(request).replace("\\", "")

    def upload(self, query, form, name, content):
        boundary = uuid.uuid4().hex
        parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in form.items()]
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="_attachments[]"; filename="{name}"\r\n'
            f"Content-Type: text/plain\r\n\r\n{content}\r\n--{boundary}--\r\n"
        )
        request = urllib.request.Request(base + query, "".join(parts).encode())
        request.add_header("Content-Type", f"multipart/form-data; boundary={boundary}")
        request.add_header("X-Requested-With", "XMLHttpRequest")
        request.add_header("X-Roundcube-Request", self.token)
        return self.open(request)

    def send(self, to, subject, text, attachment=None):
        page = self.get("?_task=mail&_action=compose")
        number = re.search(r'name="_id" value="([^"]+)"', page).group(1)
        sender = re.search(r'name="_from".*?value="(\d+)"', page, re.DOTALL).group(1)
        if attachment:
            query = f"?_task=mail&_action=upload&_id={number}&_uploadid=1&_remote=1&_from=compose"
            assert "add2attachment_list" in self.upload(query, {"_token": self.token}, *attachment)
        form = {
            "_token": self.token, "_task": "mail", "_action": "send", "_id": number, "_from": sender,
            "_to": to, "_subject": subject, "_message": text, "_is_html": "0", "_framed": "1", "_priority": "0", "_store_target": "Sent",
        }
        page = self.post("?_task=mail&_unlock=1&_framed=1&_action=send", form)
        assert "sent_successfully" in page, said(page)

    def listed(self, mailbox):
        """The subjects in a mailbox, as its page shows them."""
        page = self.get("?_task=mail&_action=list&_remote=1&_mbox=" + urllib.parse.quote(mailbox))
        return re.findall(r'"subject":"([^"]*)"', page.replace("\\", ""))

    def add_filter(self, name, word, action):
        form = {
            "_token": self.token, "_task": "settings", "_action": "plugin.managesieve-save", "_framed": "1", "_fid": "",
            "_name": name, "_enabled": "1", "_join": "allof", "_header[0]": "subject", "_custom_header[0]": "",
            "_rule_op[0]": "contains", "_rule_target[0]": word, "_rule_size_op[0]": "over", "_rule_size_target[0]": "",
            "_rule_size_item[0]": "", "_rule_mod[0]": "header", "_rule_trans[0]": "", "_rule_trans_type[0]": "all",
            "_rule_comp[0]": "", "_rule_mod_type[0]": "", **action,
        }
        page = self.post("?_task=settings&_action=plugin.managesieve-save", form)
        assert "Filter saved" in page, said(page)


def said(page):
    return re.findall(r"display_message\([^)]*\)", page)


def wait_for(what, ask):
    for _ in range(100):
        if ask():
            return
        time.sleep(0.1)
    sys.exit(f"{what}: not there")


# The folder "Pläne", as IMAP writes it.
PLANS = "Pl&AOQ-ne"

a, b = Session(alice), Session(bob)
a.send(bob, "Grüße aus Köln", "Hällo Wörld\n.a dot in front\nFrom here", ("ünï.txt", "a line\n" * 1000))
wait_for("the message", lambda: b.listed("INBOX") == ["Grüße aus Köln"])
page = b.get("?_task=mail&_action=show&_uid=1&_mbox=INBOX")
assert "Hällo Wörld" in page and "ünï.txt" in page and ".a dot in front" in page
part = b.get("?_task=mail&_action=get&_uid=1&_mbox=INBOX&_part=2&_embed=1&_mimewarning=1")
assert part.count("a line") == 1000, part[:200]
assert "add_message_row" in b.get("?_task=mail&_action=search&_remote=1&_mbox=INBOX&_headers=subject,text&_scope=base&_q=W%C3%B6rld")
assert a.listed("Sent") == ["Grüße aus Köln"]

form = {"_token": b.token, "_name": "Pläne", "_mbox": "", "_parent": "", "_viewmode": "0", "_framed": "1"}
assert "Folder created" in b.post("?_task=settings&_action=save-folder", form)
assert "marked" in b.ask("?_task=mail&_action=mark", {"_uid": "1", "_flag": "flagged", "_mbox": "INBOX", "_remote": "1"})
assert "copied" in b.ask("?_task=mail&_action=copy", {"_uid": "1", "_mbox": "INBOX", "_target_mbox": PLANS, "_remote": "1"})
assert "moved" in b.ask("?_task=mail&_action=move", {"_uid": "1", "_mbox": "INBOX", "_target_mbox": "Trash", "_remote": "1"})
assert (b.listed("INBOX"), b.listed(PLANS), b.listed("Trash")) == ([], ["Grüße aus Köln"], ["Grüße aus Köln"])

# The page of the filters begins a script where there is none.
assert "Unable to connect" not in b.get("?_task=settings&_action=plugin.managesieve")
b.add_filter("tea", "tea", {"_action_type[0]": "fileinto", "_action_mailbox[0]": PLANS, "_action_target[0]": ""})
b.add_filter("urgent", "coffee", {"_action_type[0]": "addflag", "_action_flags[0][]": "\\Flagged"})
form = {
    "_token": b.token, "vacation_status": "on", "vacation_subject": "Bin weg", "vacation_reason": "Äpfel pflücken",
    "vacation_interval": "1", "vacation_interval_type": "days", "vacation_action": "keep", "vacation_addresses[]": bob,
}
page = b.ask("?_task=settings&_action=plugin.managesieve-vacation", {**form, "_remote": "1"})
assert "data saved successfully" in page, page
a.send(bob, "tea at five", "hot")
wait_for("what the filter filed", lambda: "tea at five" in b.listed(PLANS))
wait_for("the answer to the sender", lambda: a.listed("INBOX") == ["Bin weg"])
a.send(bob, "coffee", "black")
wait_for("what the filter flagged", lambda: '"flagged":1' in b.get("?_task=mail&_action=list&_remote=1&_mbox=INBOX").replace("\\", ""))
assert a.listed("INBOX") == ["Bin weg"], "one answer a day"
print("all of it")
