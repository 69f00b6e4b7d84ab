"""The console on a stage: a real server and real pages over a seeded database and a node that is played."""
