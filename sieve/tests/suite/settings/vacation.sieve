require ["vacation", "vacation-seconds"];
vacation :seconds 10 :handle "away" "I am away.";
