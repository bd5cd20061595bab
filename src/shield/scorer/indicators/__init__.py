"""Indicators of compromise: hashes, addresses, domains, URLs and file names that others have found to be bad."""
