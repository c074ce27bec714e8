require ["mboxmetadata", "fileinto"];
if metadata "INBOX" "/private/comment" "yes" { fileinto "INBOX"; }
