package main

import (
	"context"
	"net/http"

	"github.com/sirupsen/logrus"

	"pegasus/base/config"
	"pegasus/client"
	"pegasus/dashboard"
	"pegasus/meta"
	"pegasus/remotecmd"
)

// runMeta runs a meta server. Its dashboard asks the quorum as any client does, so each member has it.
var runMeta serverRun = func(ctx context.Context, cfg config.Config, log *logrus.Entry) error {
	c := client.New(cfg.Cluster.MetaServers, client.Options{Who: "dashboard"})
	defer c.Close()
	d := dashboard.New(c.Admin(), dashboard.Options{Cluster: cfg.Cluster.Name, Metas: cfg.Cluster.MetaServers, Version: remotecmd.Version})
	return meta.Run(ctx, cfg, log, map[string]http.Handler{"dashboard": d})
}
