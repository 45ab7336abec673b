"""How the conformance kit tries ILQL: its targets follow at once and its values are heard, for there are but twelve updates."""

from alignzoo.testing import Trial

ilql = Trial(settings={"cql": 0.1, "alpha": 0.3, "sync_every": 1, "steering": {"beta": 8.0}})
