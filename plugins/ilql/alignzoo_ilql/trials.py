"""How the conformance kit tries ILQL: with values that have a say on so small a base."""

from alignzoo.testing import Trial

ilql = Trial(settings={"steering": {"beta": 4.0}})
