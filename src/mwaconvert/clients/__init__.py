"""Clients of services that speak another project's protocol, such as the ASVO."""
