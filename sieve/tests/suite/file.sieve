require ["fileinto", "copy", "imap4flags", "mailbox"];
fileinto :copy :create :flags "\\Seen" "Tea";
redirect "bob@example.org";
