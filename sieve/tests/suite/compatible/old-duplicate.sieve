require ["vnd.dovecot.duplicate", "fileinto"];
if duplicate :value "tea" :handle "h" { fileinto "Other"; }
