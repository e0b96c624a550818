"""The command line: arguments -> a client call -> print. No logic of the switch is here."""
