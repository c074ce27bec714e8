require ["fileinto", "copy", "mailbox", "encoded-character"];
fileinto :copy :create "caf${unicode:e9}";
fileinto :create "cafe${unicode:301}";
