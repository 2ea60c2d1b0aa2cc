// Package remotecmd answers what every server of a cluster answers alike: remote commands
// (RPC_CLI_CLI_CALL) and the negotiation by which a client finds out that no
// authentication is asked for (RPC_NEGOTIATION).
//
// It owns the table of a server's commands and their help. A server registers its own
// commands beside the common ones. It must not know what a command does.
package remotecmd
