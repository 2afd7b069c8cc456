"""DMs that are tried, and the sums over channels for all of them."""
