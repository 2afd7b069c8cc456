"""Delivery: where raw data come from, how products are packed, where they go and when they end."""
