require "editheader";
addheader "X-Forbidden" "1";
addheader "X-Both" "1";
addheader "Subject" "another";
addheader "X-Added" "1";
deleteheader "X-Kept";
deleteheader "X-Both-Kept";
deleteheader "X-Gone";
