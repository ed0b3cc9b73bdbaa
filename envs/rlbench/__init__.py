"""RLBench and The COLOSSEUM as environments, on an installation of these programs that the user built.

Their simulator cannot be installed from a package registry, and this adapter was never run against it: it follows the published
interfaces, and the tests hold it to them with a stand-in that has the same signatures. `policy=scripted`, which replays each
test demonstration's own keyframes, is the first thing to run on a real installation.
"""
