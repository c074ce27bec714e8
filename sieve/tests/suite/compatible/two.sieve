require ["editheader", "vacation"];
addheader "X-Two" "2";
vacation "Away.";
