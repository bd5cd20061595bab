"""Connections, listening ports and DNS: what the records say, and the lists of sockets as the fallback."""
