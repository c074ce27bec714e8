require ["spamtest", "spamtestplus", "virustest", "relational", "comparator-i;ascii-numeric", "fileinto", "variables"];
if spamtest :matches "*" { set "spam" "${1}"; }
if spamtest :percent :matches "*" { set "percent" "${1}"; }
if virustest :matches "*" { set "virus" "${1}"; }
fileinto "${spam}/${percent}/${virus}";
