package main

import "pegasus/replica"

var runReplica serverRun = replica.Run
