require "enotify";
notify "mailto:phone@example.net";
