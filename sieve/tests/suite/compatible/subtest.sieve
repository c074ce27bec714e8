require ["vnd.dovecot.testsuite", "include", "variables"];
include :global "where";
if not string "${global.place}" "the server's" { test_fail "included another"; }
if header :contains "subject" "coffee" { test_fail "coffee"; }
