"""Head to head: many runs on the same ground, at an equal budget.

benchfile.py   a bench file → entries × seeds, with everything that is wrong found before a model is loaded
grid.py        what entries have of their own, at every point of a grid
folder.py      the bench's folder: which cells are done, failed, under way or to do
damage.py      files of finished runs that were damaged, and are made again, or changed, which is refused
tuning.py      the same number of trials for each entry, on validation prompts
work.py        one cell, carried out
crew.py        several at once, each in a process of its own
outcome.py     what came of a cell, and whether it may be compared with the others
serving.py     what an answer costs once training is over, and from how many on training pays
report.py      the leaderboard
"""
