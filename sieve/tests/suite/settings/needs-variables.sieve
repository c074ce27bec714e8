require "variables";
