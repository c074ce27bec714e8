require ["duplicate", "fileinto"];
if duplicate :seconds 100000 { fileinto "INBOX"; }
