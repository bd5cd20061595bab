"""Logins and accounts: the traces a host keeps of them, each told once, and the account files."""
