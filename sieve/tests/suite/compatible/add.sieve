require "editheader";
addheader "X-Three" "3";
