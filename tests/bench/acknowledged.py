"""Inserts one after the other, each acknowledged; kill -9 of the engine in the midst of them; what is there when it is back?

usage: acknowledged.py URI RUN-DIRECTORY ENGINE DATA USER KILLS
"""
import glob
import os
import subprocess
import sys
import time

import pymongo
from pymongo.write_concern import WriteConcern

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import chaos_world

uri, run, engine, data, user, kills = *sys.argv[1:6], int(sys.argv[6])
CONCERNS = (("w1_unjournalled", WriteConcern(w=1, j=False)), ("majority_unjournalled", WriteConcern(w="majority", j=False)),
            ("majority_journalled", WriteConcern(w="majority", j=True)))


def engine_pid():
    with open(glob.glob(run + "/engine-*/pid")[0], encoding="ascii") as file:
        return int(file.read())


def one_kill(name, concern, round_):
    """Acknowledged, and of those not there any more."""
    client = pymongo.MongoClient(uri, retryWrites=False)
    collection = client.acknowledged.get_collection(name, write_concern=concern)
    end, n, pid = time.monotonic() + 0.5, 0, engine_pid()
    while time.monotonic() < end:
        collection.insert_one({"round": round_, "n": n})
        n += 1
    os.kill(pid, 9)
    client.close()
    while chaos_world.stat_of(pid) not in (None, "Z"):
        time.sleep(0.01)
    subprocess.run([engine, "start", "--data", data, "--user", user], check=True, stdout=subprocess.DEVNULL)
    client = pymongo.MongoClient(uri)
    there = client.acknowledged[name].count_documents({"round": round_})
    client.close()
    return n, n - there


for name, concern in CONCERNS:
    results = [one_kill(name, concern, k) for k in range(kills)]
    print(f"{name}_acknowledged {sum(n for n, _ in results)} inserts")
    print(f"{name}_forgotten {sum(lost for _, lost in results)} inserts, {kills} kills, {max(lost for _, lost in results)} at most", flush=True)
