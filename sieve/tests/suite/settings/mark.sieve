require ["editheader", "imap4flags"];
addheader "X-Mark" "yes";
