package main

import "pegasus/meta"

var runMeta serverRun = meta.Run
