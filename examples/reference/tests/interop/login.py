"""Logs in with the classes of Python's library: protocol, mechanism, transport, port, certificate, user, secret."""

import imaplib
import poplib
import smtplib
import ssl
import sys

protocol, mechanism, transport, port, certificate, user, secret = sys.argv[1:]
port = int(port)
context = ssl.create_default_context(cafile=certificate)

if protocol == "smtp":
    if transport == "implicit":
        client = smtplib.SMTP_SSL("localhost", port, "client.example", context=context)
    else:
        client = smtplib.SMTP("localhost", port, "client.example")
    if transport == "starttls":
        client.starttls(context=context)
    client.ehlo()
    client.user, client.password = user, secret
    client.auth(mechanism, getattr(client, "auth_" + mechanism.lower().replace("-", "_")))
    client.sendmail(user, [user], "Subject: login\r\n\r\nbody\r\n")
    client.quit()
elif protocol == "imap":
    if transport == "implicit":
        client = imaplib.IMAP4_SSL("localhost", port, ssl_context=context)
    else:
        client = imaplib.IMAP4("localhost", port)
    if transport == "starttls":
        client.starttls(context)
    if mechanism == "password":
        client.login(user, secret)
    elif mechanism == "CRAM-MD5":
        client.login_cram_md5(user, secret)
    elif mechanism == "PLAIN":
        client.authenticate("PLAIN", lambda _: f"\0{user}\0{secret}".encode())
    else:
        client.authenticate("XOAUTH2", lambda _: f"user={user}\1auth=Bearer {secret}\1\1".encode())
    assert client.select("INBOX", True)[0] == "OK"
    client.logout()
else:
    if transport == "implicit":
        client = poplib.POP3_SSL("localhost", port, context=context)
    else:
        client = poplib.POP3("localhost", port)
    if transport == "starttls":
        client.stls(context)
    client.user(user)
    client.pass_(secret)
    assert client.stat()[0] > 0
    client.quit()
