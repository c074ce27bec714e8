require ["include", "variables"];
set "global.place" "the server's";
