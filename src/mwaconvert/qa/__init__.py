"""A picture of the converted data, gathered while they are written, and statistics of them."""
