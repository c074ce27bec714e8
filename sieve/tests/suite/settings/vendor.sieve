require "vnd.dovecot.environment";
require "environment";
require "variables";
require "fileinto";
if environment "vnd.dovecot.config.folder_name" "Tea" { fileinto "${env.vnd.dovecot.config.folder_name}"; }
