"""Sigma rules, from file to match.

`parse` and `detection` read files into plain data (`rule`, `condition`, `value`, `correlation.rule`, `filter_rule`);
`ruleset` makes them usable under a policy. `matcher` matches: by log source (`logsource`), by what each rule requires
(`requirement`, `candidates`, `scan`), and then in full (`evaluate`, `predicate`), over the `fields` of an event.
Specification: https://sigmahq.io/docs/basics/rules.html
"""
