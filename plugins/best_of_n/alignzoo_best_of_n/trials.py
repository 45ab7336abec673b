"""How the conformance kit tries expert iteration: over few rounds, for so small a base has soon learned all that there is."""

from alignzoo.testing import Trial

expert_iteration = Trial(settings={"rounds": 3, "epochs": 4, "n": 8})
