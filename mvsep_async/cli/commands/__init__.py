"""The commands, a module a command: imported when the command is run, not before."""
