require "imapflags";
require "imap4flags";
require "vnd.dovecot.duplicate";
require "duplicate";
