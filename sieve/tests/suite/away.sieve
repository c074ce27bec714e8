require ["vacation", "reject"];
if header "subject" "no" { reject "not today"; } else { vacation :subject "Away" "I am away."; }
