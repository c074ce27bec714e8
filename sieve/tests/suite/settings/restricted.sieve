require "editheader";
addheader "X-Mark" "yes";
