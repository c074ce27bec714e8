require ["editheader", "variables"];
set "a" "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
set "a" "${a}${a}${a}${a}";
set "a" "${a}${a}${a}${a}";
addheader "X-Long" "${a}";
addheader "X-Longer" "${a}+";
