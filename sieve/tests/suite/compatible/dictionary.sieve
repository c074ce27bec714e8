require ["vnd.dovecot.testsuite", "include", "variables"];
include :global "other";
if not string "${global.place}" "the dictionary" { test_fail "included another"; }
