require "notify";
notify :options "nobody";
notify :method "sms" :options "a@example.net";
notify :message "x";
require "enotify";
