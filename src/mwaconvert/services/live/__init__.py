"""The services of ARTS: a master on each node, the processes that it keeps up, and what they say to each other."""
