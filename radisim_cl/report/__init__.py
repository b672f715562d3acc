"""The page that is read after a run: one HTML file that asks the network for nothing. `write` makes it; the other modules are its parts."""
