"""Where runs execute: in this process, in worker processes, later on other machines."""
