require ["notify", "fileinto"];
notify :method "mailto" :id "one" :low :options ["phone@example.net", "Desk <desk@example.net>"]
    :message "New: $subject$ of $from$ ($env-from$), $text[3]$ $5, $none$ $text$!";
notify :id "two" :high :options "pager@example.net";
notify :id "three" :options "watch@example.net";
