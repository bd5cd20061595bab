"""Power that running processes gain: user ids, groups, capabilities, a hold on other processes."""
