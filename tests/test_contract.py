"""Every plugin that comes with alignzoo conforms to its own contract: what `alignzoo check` finds, test by test."""

from alignzoo.testing import conformance

test_contract = conformance(distribution="alignzoo")
