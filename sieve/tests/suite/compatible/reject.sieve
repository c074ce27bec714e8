require "reject";
reject "Not now.";
