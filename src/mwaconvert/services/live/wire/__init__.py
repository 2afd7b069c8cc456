"""What goes over the wire: messages, keys, links, and the text protocol of old clients."""
