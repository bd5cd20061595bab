"""Sigma rules: parse (`rule`), compile (`predicate`, `condition`) and match (`matcher`) against events (`fields`).

The rest of Shield uses two names: `rule.parse(text, name) -> Rule` and `matcher.Matcher(rules, points).match(event)`.
Specification: https://sigmahq.io/docs/basics/rules.html
"""
