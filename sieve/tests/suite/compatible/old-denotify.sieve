require "notify";
notify :id "one" :low :options "a@example.net";
notify :id "two" :high :options "b@example.net";
notify :id "three" :options "c@example.net";
denotify :matches "t*" :high;
denotify :contains "hre" :normal;
