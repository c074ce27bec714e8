require ["fileinto", "editheader", "imap4flags"];
setflag "tea";
addheader "X-One" "1";
fileinto "INBOX";
