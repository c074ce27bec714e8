require "include";
include :global "mark";
