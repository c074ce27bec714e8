require ["imapflags", "fileinto", "mailbox"];
setflag ["\\Draft", "one"];
fileinto :create "Set";
addflag "two";
mark;
removeflag "\\Draft";
fileinto :create "Changed";
unmark;
fileinto :create "Unmarked";
